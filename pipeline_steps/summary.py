"""``python -m pipeline_steps.summary``: what the last run made, and where it is.

Reads metrics/evaluation.json, metrics/training.json, data/prepared/dataset.json
"""

import json
from pathlib import Path
from typing import Any

from pipeline_steps.errors import DataError, run_stage
from pipeline_steps.evaluation_table import format_evaluation

EVALUATION = Path("metrics/evaluation.json")
TRAINING = Path("metrics/training.json")
DATASET = Path("data/prepared/dataset.json")


def main() -> None:
    """Print the summary."""
    evaluation, training, dataset = (read(path) for path in (EVALUATION, TRAINING, DATASET))
    pairs = dataset["pairs"]
    print(
        f"\n{(dataset['source'] or {}).get('origin', 'unknown source')}: {pairs['train']} train,"
        f" {pairs['val']} val, {pairs['test']} test pairs at {dataset['image_size']} px;"
        f" best of {training['epochs']} epochs: {training['best_epoch']}\n"
    )
    print(format_evaluation(evaluation))
    print(
        "\nlook at   reports/evaluate/random.png, reports/train/strips.png, reports/data/report.md"
        "\ncolour    python -m colorizer sketch.png coloured.png"
        "\nbrowse    make mlflow (runs and registered versions), make plots (curves and pictures)"
    )


def read(path: Path) -> dict[str, Any]:
    """Read a stage's JSON. Raises :class:`DataError` if it isn't there."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: unreadable ({error}); run `make repro`") from None
    return value


if __name__ == "__main__":
    run_stage(main)
