"""The entries of a journal and their keys, the same when logged live or rebuilt from files.

Metrics, tags and artifact folders have their names here. A metric's name begins with its group,
under which MLflow shows its chart: ``train/``, ``val/``, ``test/``, ``baseline/``; ``system/`` is
MLflow's own.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colorizer.base.files import write_json
from pipeline_steps.tracking import runs
from pipeline_steps.tracking.journal import RunJournal, Send
from pipeline_steps.tracking.run_file import TrainingRun

EVALUATION = "evaluation"
"""Folder of the evaluation's report among the run's artifacts."""
_VAL = "val_"


def origin_tags(run: TrainingRun) -> dict[str, str]:
    """Tags of the run's name and description, the current commit, fingerprint and data."""
    sums = {f"data.{split}_sha256": sha256 for split, sha256 in run.data.items()}
    name = {runs.NAME_TAG: run.name or runs.default_name(run.training)}
    note = {runs.DESCRIPTION_TAG: run.description} if run.description else {}
    return runs.git_tags() | {runs.TRAINING_TAG: run.training} | name | note | sums


def add_metrics(
    journal: RunJournal, key: str, values: Mapping[str, float], *, step: int, send: Send = "always"
) -> None:
    """Append a set of metrics at one step."""
    content = {"values": dict(values), "step": step, "time_ms": runs.now_ms()}
    journal.add(key, "metrics", content, send=send)


def add_epoch(journal: RunJournal, row: Mapping[str, float], *, send: Send = "always") -> None:
    """Append a row of the history at step = epoch; an epoch that is repeated is appended once.

    What the epoch has no value of (NaN) is left out.
    """
    values = {
        metric_name(column): value
        for column, value in row.items()
        if column != "epoch" and not math.isnan(value)
    }
    add_metrics(journal, f"epoch {row['epoch']:.0f}", values, step=int(row["epoch"]), send=send)


def metric_name(column: str) -> str:
    """The metric of a column of the history: ``val_l1`` → ``val/l1``, others ``train/…``."""
    is_val = column.startswith(_VAL)
    return f"val/{column.removeprefix(_VAL)}" if is_val else f"train/{column}"


def add_result(journal: RunJournal, *, best_epoch: int, epochs: int, send: Send = "always") -> None:
    """Append which epoch was the best, at step = the number of epochs."""
    add_metrics(journal, "result", {"val/best_epoch": best_epoch}, step=epochs, send=send)


def add_status(journal: RunJournal, status: str, *, send: Send = "always") -> None:
    """Append the run's new status (RUNNING, FINISHED, FAILED, KILLED)."""
    content = {"status": status, "time_ms": runs.now_ms()}
    journal.add(f"status {len(journal.entries)}", "status", content, send=send)


def add_evaluation(
    journal: RunJournal,
    evaluation: Mapping[str, Any],
    report: Path | None,
    *,
    generator: Mapping[str, float],
    baseline: Mapping[str, float],
    send: Send = "changed",
) -> None:
    """Append the generator's test metrics, those to beat (``baseline/l1``, …), and the report.

    All baselines' metrics are in the artifact ``evaluation/evaluation.json`` only: a chart for each
    would hide the others. What equals the newest evaluation in the journal is not appended again.
    """
    values = {f"test/{metric}": value for metric, value in generator.items()}
    values |= {f"baseline/{metric}": value for metric, value in baseline.items()}
    content = {"values": values, "step": 0, "time_ms": runs.now_ms()}
    journal.add_revision(EVALUATION, "metrics", content, send=send)
    hints = evaluation.get("hints") or {"by_count": {}}
    for count, means in hints["by_count"].items():
        by_count = {f"hints/{name}": value for name, value in means.items()}
        content = {"values": by_count, "step": int(count), "time_ms": runs.now_ms()}
        journal.add_revision(f"{EVALUATION} {count} hints", "metrics", content, send=send)
    send_files: Send = "missing" if send == "missing" else "always"
    whole = journal.files / "evaluation.json"
    write_json(whole, dict(evaluation))
    journal.add_file_revision(f"{EVALUATION} {whole.name}", whole, EVALUATION, send=send_files)
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
        journal.add("rebuilt origin", "tags", origin_tags(run), send="missing")
        add_status(journal, "FINISHED", send="missing")
    return journal
