"""The ledger: every decision about the champion, in order, kept with the registry.

MLflow remembers where an alias points, not where it pointed. So each decision is a run in the
experiment ``<registered model> decisions``: its tags are the row, its metrics the intervals, its
artifacts the comparison. One call makes the whole row, as RUNNING: the intent. Then the aliases
move, then the row is FINISHED. A row that was left RUNNING is completed by whoever comes next.

Write only while holding :func:`pipeline_steps.tracking.registry_lock.registry_lock`.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.promotion.decision import Interval
from pipeline_steps.params import PromotionParams
from pipeline_steps.tracking import runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Action = Literal["promoted", "refused", "rolled back", "moved outside"]
State = Literal["intent", "done", "undone"]
MAX_TAG_CHARS = 4500
_PREFIX = "decision."
_STATES: dict[str, State] = {"RUNNING": "intent", "FINISHED": "done", "FAILED": "undone"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One decision. Versions are numbers of the registered model; None where there is none."""

    sequence: int = 0
    """1 is the first; given when the row is appended."""
    when: str = ""
    """UTC, ISO 8601; given when the row is appended."""
    action: Action
    version: int | None
    """The version that was judged, or rolled back to."""
    champion_before: int | None
    champion: int | None
    """After the decision."""
    previous: int | None
    """What the alias ``previous`` points to after the decision."""
    reason: str
    by: str
    """Who or what decided: user@host, or a flow run."""
    git_commit: str = "unknown"
    """Of the version."""
    test_fingerprint: str = ""
    """sha256 of the packed test pairs both were scored on; empty when nothing was scored."""
    test_pairs: int = 0
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Mean scores: ``{"challenger": {"l1": …}, "champion": {…}, "copy_sketch": {…}, …}``."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """How much better than the champion, by metric, with its confidence interval."""
    rule: str = ""
    """Fingerprint of ``params.yaml``'s promotion section that it was judged by."""
    flow_run: str = ""
    """URL or id of the Prefect flow run."""
    row_id: str = ""
    """The MLflow run that is this row."""
    state: State = "intent"
    """``undone``: it couldn't be carried out, since its version was deleted meanwhile."""


def experiment_name(registered_model: str) -> str:
    """Where the ledger of a registered model is."""
    return f"{registered_model} decisions"


def fingerprint_rule(rule: PromotionParams) -> str:
    """A short hash of a rule: equal rules have equal ones."""
    text = json.dumps(asdict(rule), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def append_intent(client: "MlflowClient", registered_model: str, row: Row) -> Row:
    """Write a row that is decided but not yet carried out; return it with its number and id."""
    from mlflow.entities import RunStatus

    rows = read_rows(client, registered_model)
    sequence = 1 + max((known.sequence for known in rows), default=0)
    now_ms = time.time_ns() // 1_000_000
    when = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    row = Row(**{**_shallow(row), "sequence": sequence, "when": when})
    run = client.create_run(
        runs.experiment_id(client, experiment_name(registered_model)),
        start_time=now_ms,
        tags=_to_tags(row),
        run_name=f"{sequence:04d} {row.action} v{row.version}",
    )
    assert run.info.status == RunStatus.to_string(RunStatus.RUNNING)
    return Row(**{**_shallow(row), "row_id": run.info.run_id})


def finish(client: "MlflowClient", row: Row, artifacts: Path | None = None) -> None:
    """Log what a row's page shows beside its tags, and mark it as carried out."""
    values = {
        f"improvement_{metric}_{bound}": value
        for metric, interval in row.intervals.items()
        for bound, value in interval._asdict().items()
    }
    for model, by_metric in row.metrics.items():
        values |= {f"{model}_{metric}": value for metric, value in by_metric.items()}
    if values:
        runs.log_metrics(client, row.row_id, values)
    if artifacts is not None:
        client.log_artifacts(row.row_id, str(artifacts))
    client.set_terminated(row.row_id)


def give_up(client: "MlflowClient", row: Row, reason: str) -> None:
    """Mark a row as one that couldn't be carried out, and why."""
    client.set_tag(row.row_id, f"{_PREFIX}undone", reason[:MAX_TAG_CHARS])
    client.set_terminated(row.row_id, status="FAILED")


def read_rows(client: "MlflowClient", registered_model: str) -> list[Row]:
    """All rows, oldest first, whatever their state."""
    rows = (_to_row(run) for run in _runs(client, registered_model))
    return sorted(rows, key=lambda row: (row.sequence, row.when))


def _runs(client: "MlflowClient", registered_model: str) -> Iterator["Run"]:
    experiment = client.get_experiment_by_name(experiment_name(registered_model))
    if experiment is None:
        return
    page_token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], max_results=1000, page_token=page_token
        )
        yield from page
        page_token = page.token
        if not page_token:
            return


def _shallow(row: Row) -> dict[str, Any]:
    return {name.name: getattr(row, name.name) for name in fields(row)}


def _to_tags(row: Row) -> dict[str, str]:
    values = asdict(row) | {"intervals": {k: list(v) for k, v in row.intervals.items()}}
    del values["row_id"], values["state"]
    return {
        f"{_PREFIX}{key}": value[:MAX_TAG_CHARS] if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
    }


def _to_row(run: "Run") -> Row:
    values: dict[str, Any] = {}
    for name in fields(Row):
        text = run.data.tags.get(f"{_PREFIX}{name.name}")
        if text is not None:
            values[name.name] = text if name.type is str else _parse(text)
    values["intervals"] = {k: Interval(*v) for k, v in values.get("intervals", {}).items()}
    return Row(**values, row_id=run.info.run_id, state=_STATES[run.info.status])


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
