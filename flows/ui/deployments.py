"""The deployments of ``prefect.yaml``, and serving them in this process, as ``make serve`` does."""

import contextlib
import importlib
import signal
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from prefect import serve
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.runner import Runner
from prefect.schedules import Cron

from flows.ui.automations import ensure_crash_detection, ensure_start_detection
from flows.ui.lost_runs import close_lost_runs, report_lost_runs
from flows.ui.missed_ticks import skip_missed_ticks
from flows.ui.prefect_client import connected
from flows.ui.replaced_schedules import find_replaced

DEPLOYMENTS = Path("prefect.yaml")


def serve_deployments(*, owns_server: bool) -> None:
    """Serve every deployment of ``prefect.yaml``.

    ``owns_server``: the server was just started for this command, so that no other one runs these
    deployments, and what a killed one has left is cleared.
    """
    ensure_crash_detection()
    ensure_start_detection()
    Runner.handle_sigterm = stop  # type: ignore[assignment, method-assign]
    deployments = [to_deployment(entry) for entry in read_entries()]
    names = [deployment.full_name for deployment in deployments]
    started = datetime.now(UTC)
    if owns_server:
        close_lost_runs(names)
    for line in skip_missed_ticks(names=names):
        print(f"serve: {line}", flush=True)
    for line in chain.from_iterable(find_replaced(named_entries()).values()):
        print(f"serve: replaces {line}", flush=True)
    report_lost_runs(names, since=started)
    serve(*deployments, pause_on_shutdown=False)


def read_entries() -> list[dict[str, Any]]:
    """The deployments of ``prefect.yaml``."""
    entries: list[dict[str, Any]] = yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))[
        "deployments"
    ]
    return entries


def named_entries() -> dict[str, dict[str, Any]]:
    """``flow/deployment`` → its entry in ``prefect.yaml``."""
    return {f"{_load_flow(entry).name}/{entry['name']}": entry for entry in read_entries()}


def ensure_work_pools() -> None:
    """Make the work pools that ``prefect.yaml`` names and that are missing, for processes."""
    pools = {entry["work_pool"]["name"] for entry in read_entries()}
    with connected() as client:
        for name in sorted(pools):
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def stop(*_: object) -> None:
    """End as after SIGINT: Prefect's own handler of SIGTERM never awaits what it calls."""
    signal.raise_signal(signal.SIGINT)


def to_deployment(entry: dict[str, Any]) -> RunnerDeployment:
    """An entry of ``prefect.yaml`` as ``serve`` expects it."""
    limit = entry.get("concurrency_limit")
    return _load_flow(entry).to_deployment(  # type: ignore[no-any-return]
        name=entry["name"],
        description=entry["description"],
        parameters=entry.get("parameters"),
        schedules=[Cron(each["cron"], timezone=each["timezone"]) for each in entry["schedules"]],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
    )


def _load_flow(entry: dict[str, Any]) -> Any:
    file, _, name = entry["entrypoint"].partition(":")
    return getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
