"""Stage 4: the best generator on the test pairs, compared with the baselines.

Reads  models/{generator.safetensors,run.json}, data/prepared/{test.npy,train_mean.npy,manifest.csv}
Writes metrics/{evaluation,test}.json,
       reports/evaluate/{per_picture.csv,hints.csv,{random,best,worst}.png}

The baselines are the sketch itself, white paper and the mean training picture: published SSIM and
PSNR of colorizers are about what copying the sketch scores.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from colorizer.base.files import atomic_path, write_json
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.json_and_csv import read_table
from pipeline_steps.base.paths import (
    BEST_GRID,
    EVALUATION_METRICS,
    EVALUATION_REPORT,
    HINTS_BY_COUNT,
    MANIFEST,
    PER_PICTURE,
    RANDOM_GRID,
    RUN_FILE,
    TEST_METRICS,
    TEST_PAIRS,
    TRAIN_MEAN,
    TRAIN_WORK,
    WORST_GRID,
)
from pipeline_steps.base.paths import GENERATOR as GENERATOR_FILE
from pipeline_steps.evaluate import hints
from pipeline_steps.evaluate.grids import save_grid
from pipeline_steps.evaluate.scoring import (
    TRUTH,
    MethodScores,
    read_halves,
    score_fid,
    score_line_styles,
    score_pairs,
)
from pipeline_steps.hints.by_region import paint_dots, place_dots
from pipeline_steps.networks.generator import Generator, load_generator
from pipeline_steps.pairs.packed import PackedPairs, read_pairs, read_train_mean
from pipeline_steps.pairs.values import tensor_of
from pipeline_steps.params import Params, read_params
from pipeline_steps.scores.definitions import GENERATOR
from pipeline_steps.scores.kid import kid
from pipeline_steps.scores.table import best_baseline, format_evaluation, generator_metrics
from pipeline_steps.tracking import mlflow_server, run_entries
from pipeline_steps.tracking.delivery import bring_up_to_date, deliver_waiting, print_undelivered
from pipeline_steps.tracking.run_file import read_run_file

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

GRID_HINTS = 5
"""Dots on each picture of a grid."""


def main() -> None:
    """Score the generator on the test pairs and log the result to the training's MLflow run."""
    params = read_params()
    client = mlflow_server.connect()
    with mlflow_server.plain_errors():
        deliver_waiting(client, params.tracking.experiment, TRAIN_WORK, command="evaluate")
    generator = load_generator(GENERATOR_FILE)
    test_pairs = read_pairs(TEST_PAIRS)
    if not len(test_pairs):
        raise DataError(f"{test_pairs.path}: no pairs; see data/prepared/manifest.csv")
    mean = read_train_mean(TRAIN_MEAN, test_pairs.image_size)
    train_mean = tensor_of(torch.from_numpy(mean)[None])[0]
    ids = read_ids(MANIFEST, "test")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scores = score_pairs(
        generator.to(device),
        test_pairs,
        train_mean,
        batch_size=params.evaluate.batch_size,
        st_lpips=params.scores.st_lpips,
    )
    table = per_picture_table(ids, scores.values)
    evaluation = summarize(scores)
    evaluation["line_styles"] = score_line_styles(
        generator,
        test_pairs,
        batch_size=params.evaluate.batch_size,
        seed=params.evaluate.seed,
    )
    by_count = {0: scores.values[GENERATOR]} | hints.score_by_count(
        generator,
        test_pairs,
        batch_size=params.evaluate.batch_size,
        seed=params.evaluate.seed,
        st_lpips=params.scores.st_lpips,
    )
    hint_table = hints.tabulate(by_count, seed=params.evaluate.seed)
    obedience = hints.score_obedience(
        generator, test_pairs, batch_size=params.evaluate.batch_size, seed=params.evaluate.seed
    )
    evaluation["hints"] = hints.summarize(hint_table, obedience)
    if params.scores.inception_weights:
        evaluation["fid"] = score_fid(
            Path(params.scores.inception_weights),
            generator,
            test_pairs,
            train_mean,
            batch_size=params.evaluate.batch_size,
        )

    for path, rows in ((PER_PICTURE, table), (HINTS_BY_COUNT, hint_table)):
        with atomic_path(path) as partial:
            rows.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    for path, indices in choose_pairs(table, params).items():
        draw_grid(path, generator, test_pairs, indices, seed=params.evaluate.seed)
    write_json(EVALUATION_METRICS, evaluation)
    # DVC's metrics are what changes with the model
    write_json(TEST_METRICS, generator_metrics(evaluation))
    with mlflow_server.plain_errors():
        log_to_training_run(client, params, evaluation)
    print(format_evaluation(evaluation))


def read_ids(manifest: Path, split: str) -> list[str]:
    """The ids of a split's pairs, in the order in which they are packed.

    Raises :class:`DataError` if the manifest is missing or damaged.
    """
    table = read_table(manifest, ("id", "split", "row"))
    rows = table[(table["split"] == split) & table["row"].notna()]
    return list(rows.sort_values("row")["id"])


def summarize(scores: MethodScores) -> dict[str, Any]:
    """Mean of every metric by method, KID by method, and how many test pairs there were.

    KID is None without ST-LPIPS, whose features it compares, and for a single pair.
    """
    means = {
        method: {metric: round(values.double().mean().item(), 6) for metric, values in by.items()}
        for method, by in scores.values.items()
    }
    count = len(scores.values[GENERATOR]["l1"])
    features = dict(scores.features) if count > 1 else {}
    truth = features.pop(TRUTH, None)
    estimates = {
        method: {name: round(value, 4) for name, value in kid(each, truth)._asdict().items()}
        for method, each in features.items()
        if truth is not None
    }
    return {**means, "test_pairs": count, "kid": estimates or None}


def per_picture_table(ids: list[str], scores: dict[str, dict[str, Tensor]]) -> "pd.DataFrame":
    """One row per test picture: id, row (its packed index), then ``<method>_<metric>``."""
    import pandas as pd

    columns = {
        f"{method}_{metric}": values.numpy()
        for method, by_metric in scores.items()
        for metric, values in by_metric.items()
    }
    return pd.DataFrame({"id": ids, "row": range(len(ids)), **columns})


def choose_pairs(table: "pd.DataFrame", params: Params) -> dict[Path, Tensor]:
    """The indices of the pairs that each grid shows: random by seed, best and worst by L1."""
    count = min(params.evaluate.grid_pairs, len(table))
    random = torch.Generator().manual_seed(params.evaluate.seed)
    by_l1 = torch.tensor(table.sort_values("generator_l1", kind="stable")["row"].to_numpy())
    return {
        RANDOM_GRID: torch.randperm(len(table), generator=random)[:count],
        BEST_GRID: by_l1[:count],
        WORST_GRID: by_l1.flip(0)[:count],
    }


@torch.inference_mode()
def draw_grid(
    path: Path, generator: Generator, pairs: PackedPairs, indices: Tensor, *, seed: int
) -> None:
    """Colour these test pairs, by hints too if the generator takes them, and write their grid."""
    sketch, truth = read_halves(pairs, indices)
    device = next(generator.parameters()).device
    columns = {"sketch": sketch, "generated": generator(sketch.to(device)).cpu()}
    if generator.architecture.takes_hints:
        dots = place_dots(truth, sketch, [seed + int(index) for index in indices], GRID_HINTS)
        given = paint_dots(truth, sketch, dots, GRID_HINTS)
        mask = given[:, 3:]
        columns["hints"] = given[:, :3] + (1 - mask) * sketch
        columns["with hints"] = generator(sketch.to(device), hints=given.to(device)).cpu()
    save_grid(path, columns | {"truth": truth})


def log_to_training_run(client: "MlflowClient", params: Params, evaluation: dict[str, Any]) -> None:
    """Add means and reports to the training's journal, and bring its run up to that."""
    journal = run_entries.open_journal(TRAIN_WORK, read_run_file(RUN_FILE))
    run_entries.add_evaluation(
        journal,
        evaluation,
        EVALUATION_REPORT,
        generator=generator_metrics(evaluation),
        baseline=best_baseline(evaluation),
    )
    delivery = bring_up_to_date(client, params.tracking.experiment, journal)
    print_undelivered("evaluate", delivery)
