"""The entries of a journal and their keys, the same when logged live or rebuilt from files.

Metrics, tags and artifact folders have their names here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_steps.tracking import runs
from pipeline_steps.tracking.journal import RunJournal, Send
from pipeline_steps.tracking.run_file import TrainingRun

EVALUATION = "evaluation"
"""Folder of the evaluation's report among the run's artifacts."""


def origin_tags(training: str, data: Mapping[str, str]) -> dict[str, str]:
    """Tags of the current commit, the training's fingerprint, and its data's sha256 by split."""
    sums = {f"data.{split}_sha256": sha256 for split, sha256 in data.items()}
    return runs.git_tags() | {runs.TRAINING_TAG: training} | sums


def add_metrics(
    journal: RunJournal, key: str, values: Mapping[str, float], *, step: int, send: Send = "always"
) -> None:
    """Append a set of metrics at one step."""
    content = {"values": dict(values), "step": step, "time_ms": runs.now_ms()}
    journal.add(key, "metrics", content, send=send)


def add_epoch(journal: RunJournal, row: Mapping[str, float], *, send: Send = "always") -> None:
    """Append a row of the history at step = epoch; an epoch that is repeated is appended once."""
    values = {key: value for key, value in row.items() if key != "epoch"}
    add_metrics(journal, f"epoch {row['epoch']:.0f}", values, step=int(row["epoch"]), send=send)


def add_result(journal: RunJournal, *, best_epoch: int, epochs: int, send: Send = "always") -> None:
    """Append which epoch was the best, at step = the number of epochs."""
    add_metrics(journal, "result", {"best_epoch": best_epoch}, step=epochs, send=send)


def add_status(journal: RunJournal, status: str, *, send: Send = "always") -> None:
    """Append the run's new status (RUNNING, FINISHED, FAILED, KILLED)."""
    content = {"status": status, "time_ms": runs.now_ms()}
    journal.add(f"status {len(journal.entries)}", "status", content, send=send)


def add_evaluation(
    journal: RunJournal,
    evaluation: Mapping[str, Any],
    report: Path | None,
    *,
    send: Send = "changed",
) -> None:
    """Append the test metrics (``test_l1``, ``copy_sketch_l1``, …) and the report's files.

    What equals the newest evaluation in the journal is not appended again.
    """
    values: dict[str, float] = {"test_pairs": evaluation["test_pairs"]}
    for method, by_metric in evaluation.items():
        if isinstance(by_metric, Mapping):
            prefix = "test" if method == "generator" else method
            values |= {f"{prefix}_{metric}": value for metric, value in by_metric.items()}
    content = {"values": values, "step": 0, "time_ms": runs.now_ms()}
    journal.add_revision(EVALUATION, "metrics", content, send=send)
    send_files: Send = "missing" if send == "missing" else "always"
    for file in sorted(path for path in report.iterdir() if path.is_file()) if report else ():
        journal.add_file_revision(f"{EVALUATION} {file.name}", file, EVALUATION, send=send_files)


def open_journal(work: Path, run: TrainingRun) -> RunJournal:
    """The journal of a finished training below ``work``, as its run file says.

    Where this clone didn't train it, there is none yet. It then begins with what the run file
    knows, and a run that has this, or more, keeps its own.
    """
    journal = RunJournal(work / run.training)
    if not journal.entries:
        journal.mark_delivered(run.tracking_uri, run.run_id, 0)
        tags = origin_tags(run.training, run.data)
        journal.add("rebuilt origin", "tags", tags, send="missing")
        add_status(journal, "FINISHED", send="missing")
    return journal
