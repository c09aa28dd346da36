"""The model card of an exported generator (Markdown): its use, data, test results and training."""

from typing import Any

from colorizer.model.folder import GRID_FILE, is_from_sample
from pipeline_steps.scores.definitions import BASELINES, GENERATOR, METRICS, measured

SAMPLE_WARNING = """
**A toy, to try the pipeline with.** It was trained on drawn sample characters alone. On 33 real
sketches, the default params' model had an L1 of 0.668, the untouched sketches 0.211: on real line
art it is worse than none. Train on real pairs: `make kaggle`, or `make archive PAIRS=…`.
"""
SAMPLE_LICENCE = "this project's, whose code draws the pictures (see its LICENSE)"


def write_card(config: dict[str, Any]) -> str:
    """Render the card from an exported folder's ``config.json``."""
    size = config["preprocessing"]["image_size"]
    data, training, evaluation = config["data"], config["training"], config["evaluation"]
    source = data.get("source") or {}
    is_sample = is_from_sample(config)
    licence = SAMPLE_LICENCE if is_sample else config["data_licence"]
    counts = ", ".join(f"{count} {split}" for split, count in sorted(data["pairs"].items()))
    return f"""# {config["name"]}

Colours anime line art: a pix2pix generator (U-Net) at {size}×{size} pixels.
{SAMPLE_WARNING if is_sample else ""}
![sketch, generated, truth; two per row]({GRID_FILE})

## Intended use
Flat colour drafts of clean line art like its training pictures (dark lines on white paper). It
accepts no text prompts, isn't meant for photographs or styles that it wasn't trained on, and its
colours are guesses that an artist should check. Not for passing off another artist's line art as
one's own work.

## Data
{source.get("origin", "unknown")} (version {source.get("version", "unknown")}): {counts} pairs.
Fingerprint `{data["fingerprint"]}`. Licence of the data: {licence}.

## Test results
On {evaluation["test_pairs"]} pairs that neither training nor the choice of the epoch saw, compared
with the baselines, which need no model:

{_table(evaluation)}

## Training
Best of {training["epochs"]} epochs by val L1: epoch {training["best_epoch"]}. All params and the
preprocessing are in `config.json`.

## Use
`colorize sketch.png -o coloured.png --model .` in this folder; from a registry that has it,
`--model models:/{config["name"]}@champion`, or another alias or version.
"""


def _table(evaluation: dict[str, Any]) -> str:
    metrics = measured(evaluation[GENERATOR])
    header = "| | " + " | ".join(METRICS[metric].label for metric in metrics) + " |"
    lines = [header, "|---" * (len(metrics) + 1) + "|"]
    for method in (GENERATOR, *BASELINES):
        cells = " | ".join(f"{evaluation[method][metric]:.3f}" for metric in metrics)
        lines.append(f"| {method.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)
