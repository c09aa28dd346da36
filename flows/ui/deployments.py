"""Serves the deployments of ``prefect.yaml`` in this process, the same as ``prefect deploy``."""

import importlib
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.schedules import Cron

from flows.ui.automations import ensure_crash_detection, ensure_start_detection
from flows.ui.lost_runs import close_lost_runs, report_lost_runs

DEPLOYMENTS = Path("prefect.yaml")


def serve_deployments(*, owns_server: bool) -> None:
    """Serve every deployment of ``prefect.yaml``.

    ``owns_server``: the server was just started for this command, so that no other one runs these
    deployments, and what a killed one has left is cleared.
    """
    ensure_crash_detection()
    ensure_start_detection()
    Runner.handle_sigterm = stop  # type: ignore[assignment, method-assign]
    entries = yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))["deployments"]
    deployments = [to_deployment(entry) for entry in entries]
    names = [deployment.full_name for deployment in deployments]
    started = datetime.now(UTC)
    if owns_server:
        close_lost_runs(names)
    report_lost_runs(names, since=started)
    serve(*deployments, pause_on_shutdown=False)


def stop(*_: object) -> None:
    """End as after SIGINT: Prefect's own handler of SIGTERM never awaits what it calls."""
    signal.raise_signal(signal.SIGINT)


def to_deployment(entry: dict[str, Any]) -> RunnerDeployment:
    """An entry of ``prefect.yaml`` as ``serve`` expects it."""
    file, _, name = entry["entrypoint"].partition(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    limit = entry.get("concurrency_limit")
    return getattr(module, name).to_deployment(  # type: ignore[no-any-return]
        name=entry["name"],
        description=entry["description"],
        parameters=entry.get("parameters"),
        schedules=[Cron(each["cron"], timezone=each["timezone"]) for each in entry["schedules"]],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
    )
