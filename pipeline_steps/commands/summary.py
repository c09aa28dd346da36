"""``python -m pipeline_steps summary``: the last run's results, and where its files are.

Reads metrics/evaluation.json, metrics/training.json and data/prepared/dataset.json.
"""

from colorizer.model.folder import SAMPLE_NOTE, SAMPLE_SOURCE
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import DATASET, EVALUATION_METRICS, TRAINING_METRICS
from pipeline_steps.scores.table import format_evaluation


def main() -> None:
    """Print the summary."""
    evaluation, training, dataset = (
        read_json(path) for path in (EVALUATION_METRICS, TRAINING_METRICS, DATASET)
    )
    pairs = dataset["pairs"]
    print(
        f"\n{(dataset['source'] or {}).get('origin', 'unknown source')}: {pairs['train']} train,"
        f" {pairs['val']} val, {pairs['test']} test pairs at {dataset['image_size']} px;"
        f" best epoch: {training['best_epoch']} of {training['epochs']}\n"
    )
    print(format_evaluation(evaluation))
    if (dataset["source"] or {}).get("source") == SAMPLE_SOURCE:
        print(f"\nthis model is {SAMPLE_NOTE}")
    print(
        "\nlook at   reports/evaluate/random.png, reports/train/strips.png, reports/data/report.md"
        "\ncolour    .venv/bin/colorize sketch.png -o coloured.png, or make studio"
        "\nbrowse    make mlflow (runs and registered versions), make plots (curves and pictures)"
    )
