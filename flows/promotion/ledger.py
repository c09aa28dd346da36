"""The ledger: every decision about the champion, in order, kept with the registry.

MLflow stores where an alias points, not where it pointed before. So each decision is an entry here:
a run in the experiment ``<registered model> decisions``, whose tags are the entry's fields, whose
metrics are the intervals, and whose artifacts are the comparison. One call writes the whole entry,
as RUNNING: the intent. Then the aliases are moved, then the run is FINISHED. An intent that a
killed process left is completed by the next one (``champion.settle``).

Write only while holding :func:`flows.promotion.registry_lock.registry_lock`.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from colorizer.base.redaction import redact
from flows.promotion.decision import Interval
from pipeline_steps.params import PromotionParams
from pipeline_steps.tracking import mlflow_server, runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Action = Literal["promoted", "refused", "rolled back", "moved outside"]
State = Literal["intent", "done", "undone"]
MAX_TAG_CHARS = 4500
_PREFIX = "decision."
_STATES: dict[str, State] = {"RUNNING": "intent", "FINISHED": "done", "FAILED": "undone"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One decision. Versions are numbers of the registered model; None where there is none."""

    sequence: int = 0
    """1 is the first; set by :func:`append_intent`."""
    when: str = ""
    """UTC, ISO 8601; set by :func:`append_intent`."""
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
    model_created_ms: int = 0
    """When the registered model was made, by the server's clock; 0 in rows of earlier releases.
    Numbers of a model that was deleted since don't mean versions of the one that has its name."""
    row_id: str = ""
    """Id of the MLflow run that stores this entry; named as in the CSV."""
    state: State = "intent"
    """``undone``: it couldn't be carried out, e.g. since its version was deleted meanwhile."""


def experiment_name(registered_model: str) -> str:
    """Where the ledger of a registered model is."""
    return f"{registered_model} decisions"


def fingerprint_rule(rule: PromotionParams) -> str:
    """A short hash of a rule: equal rules have equal ones."""
    text = json.dumps(asdict(rule), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def append_intent(client: "MlflowClient", registered_model: str, entry: Entry) -> Entry:
    """Write what is decided but not yet carried out; return it with its number and id."""
    from mlflow.entities import RunStatus

    entries = read_entries(client, registered_model)
    sequence = 1 + max((known.sequence for known in entries), default=0)
    time_ms = runs.now_ms()
    when = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    entry = Entry(**{**_shallow(entry), "sequence": sequence, "when": when})
    run = client.create_run(
        runs.experiment_id(client, experiment_name(registered_model)),
        start_time=time_ms,
        tags=_to_tags(entry),
        run_name=f"{sequence:04d} {entry.action} v{entry.version}",
    )
    assert run.info.status == RunStatus.to_string(RunStatus.RUNNING)
    return Entry(**{**_shallow(entry), "row_id": run.info.run_id})


def finish(client: "MlflowClient", entry: Entry, artifacts: Path | None = None) -> None:
    """Log the metrics and artifacts of an entry, and mark it as carried out.

    That the artifacts can't be sent is a warning: the aliases have moved.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    values = {
        f"improvement_{metric}_{bound}": value
        for metric, interval in entry.intervals.items()
        for bound, value in interval._asdict().items()
    }
    for model, by_metric in entry.metrics.items():
        values |= {f"{model}_{metric}": value for metric, value in by_metric.items()}
    if values:
        runs.log_metrics(client, entry.row_id, values)
    if artifacts is not None:
        try:
            client.log_artifacts(entry.row_id, str(artifacts))
        except (MlflowException, RequestException) as error:
            warnings.warn(
                f"the comparison isn't kept with decision {entry.sequence}:"
                f" {mlflow_server.plain_error(error)}",
                stacklevel=2,
            )
    client.set_terminated(entry.row_id)


def give_up(client: "MlflowClient", entry: Entry, reason: str) -> None:
    """Mark an entry as one that can't be carried out, and why."""
    client.set_tag(entry.row_id, f"{_PREFIX}undone", redact(reason)[:MAX_TAG_CHARS])
    client.set_terminated(entry.row_id, status="FAILED")


def read_entries(client: "MlflowClient", registered_model: str) -> list[Entry]:
    """All entries, oldest first, whatever their state.

    Raises :class:`~pipeline_steps.base.errors.TrackingError` if the ledger is in MLflow's trash.
    """
    entries = (_to_entry(run) for run in _runs(client, registered_model))
    return sorted(entries, key=lambda entry: (entry.sequence, entry.when))


def _runs(client: "MlflowClient", registered_model: str) -> Iterator["Run"]:
    experiment = client.get_experiment_by_name(experiment_name(registered_model))
    if experiment is None:
        return
    runs.require_active(experiment)
    page_token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], max_results=1000, page_token=page_token
        )
        yield from page
        page_token = page.token
        if not page_token:
            return


def _shallow(entry: Entry) -> dict[str, Any]:
    return {name.name: getattr(entry, name.name) for name in fields(entry)}


def _to_tags(entry: Entry) -> dict[str, str]:
    values = asdict(entry) | {"intervals": {k: list(v) for k, v in entry.intervals.items()}}
    del values["row_id"], values["state"]
    values["reason"] = redact(entry.reason)
    return {
        f"{_PREFIX}{key}": value[:MAX_TAG_CHARS] if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
    }


def _to_entry(run: "Run") -> Entry:
    values: dict[str, Any] = {}
    for name in fields(Entry):
        text = run.data.tags.get(f"{_PREFIX}{name.name}")
        if text is not None:
            values[name.name] = text if name.type is str else _parse(text)
    values["intervals"] = {k: Interval(*v) for k, v in values.get("intervals", {}).items()}
    return Entry(**values, row_id=run.info.run_id, state=_STATES[run.info.status])


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
