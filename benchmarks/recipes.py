"""Compare recipes at equal training time: overlays of ``params.yaml`` × sets of pairs × seeds.

    python -m benchmarks.recipes --set sample=data/prepared --set emoji=EMOJI/data/prepared \
        --seconds 240 --seeds 1 2 3

A recipe is a file in ``benchmarks/recipes``. First the training steps of all of them are timed in
turns on the same cores, which tells how many images each sees in the given seconds; then each
trains on so many, on any machine, however busy, and on a GPU where there is one. The table has the
mean over seeds and test pairs, and its change against the first recipe, with a 95 % bootstrap
interval over both, paired.

Results are kept in ``.work/recipes``: run the command again to continue, or to add recipes, sets
and seeds.
"""

import argparse
import dataclasses
import itertools
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from colorizer.base.files import atomic_path, write_json
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.commands.overrides import apply_overrides
from pipeline_steps.evaluate.scoring import score_pairs
from pipeline_steps.networks.generator import Generator, save_generator
from pipeline_steps.pairs.packed import SKETCH, PackedPairs, read_pairs
from pipeline_steps.params import PARAMS_FILE, TrainParams, check_params, flatten, load_yaml
from pipeline_steps.scores.definitions import GENERATOR, METRICS
from pipeline_steps.train import trainer
from pipeline_steps.train.augmentation import augment, plan_epoch
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.device import (
    choose_autocast_dtype,
    choose_device,
    make_deterministic,
)
from pipeline_steps.train.memory import keep_freed_memory
from pipeline_steps.train.schedule import set_learning_rate
from pipeline_steps.train.state import TrainingState, build_state

RECIPES = Path(__file__).with_name("recipes")
WORK = Path(".work/recipes")
CPU = torch.device("cpu")
ROUNDS, ROUND_S = 7, 1.5
RESAMPLES = 2000
Float64Array = npt.NDArray[np.float64]


def main() -> None:
    """Time the recipes, train what isn't trained yet, and print the table."""
    arguments = parse_arguments()
    keep_freed_memory()
    make_deterministic()
    sets = {name: Path(folder) for name, folder in (each.split("=", 1) for each in arguments.set)}
    names = arguments.recipes or list_recipes()
    images_per_s = time_recipes(names, next(iter(sets.values())), arguments.work / "speeds.json")
    for seed in arguments.seeds:
        for name in names:
            for set_name, prepared in sets.items():
                folder = arguments.work / f"{arguments.seconds:g} s" / set_name / name / str(seed)
                if not (folder / "result.json").exists():
                    images = arguments.seconds * images_per_s[name]
                    train_recipe(name, prepared, seed, images, folder)
    root = arguments.work / f"{arguments.seconds:g} s"
    for set_name in sets:
        print("\n".join(format_table(root / set_name, names, arguments.seeds)), flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--set", action="append", required=True, metavar="NAME=FOLDER", help="prepared pairs"
    )
    parser.add_argument("--recipes", nargs="+", metavar="NAME", help="default: all of them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, default=240.0, help="of training, each")
    parser.add_argument("--work", type=Path, default=WORK)
    return parser.parse_args()


def list_recipes() -> list[str]:
    """The names of all recipes; ``default``, which changes nothing, first."""
    return ["default", *sorted(path.stem for path in RECIPES.glob("*.yaml"))]


def read_recipe(name: str) -> TrainParams:
    """``params.yaml`` with a recipe's changes, without hints, which change no picture without any.

    Raises :class:`ParamError` naming a wrong key.
    """
    tree = load_yaml(PARAMS_FILE)
    tree["train"]["hints"] = "none"
    changes = {} if name == "default" else flatten(load_yaml(RECIPES / f"{name}.yaml"))
    params = check_params(apply_overrides(tree, changes)).train
    return dataclasses.replace(params, compile=False, collapse_epochs=0, sample_every_epochs=10_000)


def time_recipes(names: list[str], prepared: Path, file: Path) -> dict[str, float]:
    """Images per second of each recipe's training step, timed in turns; kept in ``file``.

    New recipes are timed beside the first one, and scaled by it.
    """
    known: dict[str, float] = read_json(file) if file.exists() else {}
    new = [name for name in names if name not in known]
    if not new:
        return known
    pairs = read_pairs(prepared / "train.npy")
    timed = [names[0], *(name for name in new if name != names[0])]
    steppers = {name: step_forever(read_recipe(name), pairs) for name in timed}
    rates: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(ROUNDS + 1):
        for name, steps in steppers.items():
            images, start_s = 0, time.perf_counter()
            while (elapsed_s := time.perf_counter() - start_s) < ROUND_S or not images:
                images += next(steps)
            rates[name].append(images / elapsed_s)
    # the first round warms up
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    scale = known.get(names[0], medians[names[0]]) / medians[names[0]]
    known |= {name: scale * medians[name] for name in timed if name not in known}
    write_json(file, known)
    for name, rate in known.items():
        print(
            f"{name}: {rate:.1f} images/s, {rate / known[names[0]]:.2f} of {names[0]}", flush=True
        )
    return known


def step_forever(params: TrainParams, pairs: PackedPairs) -> Iterator[int]:
    """Train step by step, with the recipe's shares of steps; yield each one's images."""
    state = build_state(params, pairs.image_size, CPU)
    set_learning_rate(state.generator_optimizer, params.generator_lr)
    set_learning_rate(state.discriminator_optimizer, params.discriminator_lr)
    dtype = choose_autocast_dtype(params.precision, CPU)
    plan = plan_epoch(
        seed=params.seed,
        epoch=0,
        num_pairs=len(pairs),
        load_size=params.load_size,
        image_size=pairs.image_size,
        flip=params.horizontal_flip,
    )
    share = 1 - params.adversarial_start_fraction
    hinted_share = (1 - params.hints_start_fraction) * (params.hints != "none")
    redrawn_share = (1 - params.line_styles_start_fraction) * params.line_styles
    steps = len(pairs) // params.batch_size
    for step in itertools.count():
        first = step % steps * params.batch_size
        one = slice(first, first + params.batch_size)
        batch = augment(
            fetch(pairs, plan.order[one], CPU),
            plan,
            one,
            load_size=params.load_size,
            redrawn_share=redrawn_share,
            with_hints=is_one_of(step, hinted_share),
        )
        adversarial = is_one_of(step, share)
        trainer.update(state, batch, params, dtype, adversarial=adversarial)
        yield params.batch_size


def is_one_of(step: int, share: float) -> bool:
    """Whether a step is one of a share of them, evenly spread."""
    return int((step + 1) * share) > int(step * share)


def train_recipe(name: str, prepared: Path, seed: int, images: float, folder: Path) -> None:
    """Train for about so many images; keep the generator, its history and each picture's scores."""
    splits = [read_pairs(prepared / f"{split}.npy") for split in ("train", "val", "test")]
    params = read_recipe(name)
    epochs = max(1, round(images / len(splits[0])))
    params = dataclasses.replace(params, seed=seed, epochs=epochs)
    start_s = time.monotonic()
    state = train(params, splits[0], splits[1], folder / "work")
    elapsed_s = time.monotonic() - start_s
    generator = Generator(state.generator.architecture)
    generator.load_state_dict(state.best_weights)
    scores = score_generator(generator.eval().to(choose_device(params.device)), splits[2])
    table = np.stack([scores[metric] for metric in METRICS])
    with atomic_path(folder / "scores.npy") as partial, partial.open("wb") as file:
        np.save(file, table)
    save_generator(folder / "generator.safetensors", generator.architecture, state.best_weights)
    facts: dict[str, Any] = {
        "images": state.seen_images,
        "seconds": elapsed_s,
        "best_epoch": state.best_epoch,
        "history": [
            {name: value for name, value in row.items() if not math.isnan(value)}
            for row in state.history
        ],
    }
    write_json(folder / "result.json", facts)
    means = {metric: round(float(values.mean()), 4) for metric, values in scores.items()}
    print(
        f"{prepared} {name}, seed {seed}: {epochs} epochs, {elapsed_s:.0f} s, {means}", flush=True
    )


def train(
    params: TrainParams, train_pairs: PackedPairs, val_pairs: PackedPairs, work: Path
) -> TrainingState:
    """Train, or resume a training that was killed."""
    return trainer.train(
        train_pairs,
        val_pairs,
        params,
        panel_sketches=fetch(val_pairs, torch.zeros(1, dtype=torch.int64), CPU)[:, SKETCH],
        work_folder=work,
        fingerprint=json.dumps(dataclasses.asdict(params), sort_keys=True),
        observer=trainer.TrainingObserver(on_samples=lambda *_: None, on_epoch=lambda _: None),
        st_lpips=True,
    )


def score_generator(generator: Generator, test_pairs: PackedPairs) -> dict[str, Float64Array]:
    """Metric → N values on the test pairs."""
    size = test_pairs.image_size
    scores = score_pairs(
        generator, test_pairs, torch.zeros(3, size, size), batch_size=16, st_lpips=True
    )
    return {metric: values.double().numpy() for metric, values in scores.values[GENERATOR].items()}


def format_table(folder: Path, names: list[str], seeds: list[int]) -> list[str]:
    """A Markdown table of a set: a line per recipe, the change against the first below its mean."""
    titles = [metric.column for metric in METRICS.values()]
    lines = [f"| {folder.name}, {len(seeds)} seeds | images | " + " | ".join(titles) + " |"]
    lines.append("|---" * (len(titles) + 2) + "|")
    reference = read_scores(folder / names[0], seeds)
    for name in names:
        scores = read_scores(folder / name, seeds)
        images = read_json(folder / name / str(seeds[0]) / "result.json")["images"]
        cells = [f"{scores[metric].mean():.3f}" for metric in METRICS]
        if name != names[0]:
            changes = [change(scores[metric], reference[metric]) for metric in METRICS]
            cells = [f"{cell} ({text})" for cell, text in zip(cells, changes, strict=True)]
        lines.append(f"| {name} | {images} | " + " | ".join(cells) + " |")
    return lines


def read_scores(folder: Path, seeds: list[int]) -> dict[str, Float64Array]:
    """Metric → seeds × pairs."""
    tables = [
        np.load(folder / str(seed) / "scores.npy", allow_pickle=False).astype(np.float64)
        for seed in seeds
    ]
    return dict(zip(METRICS, np.stack(tables, axis=1), strict=True))


def change(scores: Float64Array, reference: Float64Array) -> str:
    """``−5 % [−7, −3]``: the change of the mean, and its interval over seeds and pairs.

    A dash where the reference is 0.
    """
    if not reference.mean():
        return "–"
    random = np.random.default_rng(1)
    seeds, pairs = scores.shape
    ratios = []
    for _ in range(RESAMPLES):
        drawn = np.ix_(random.integers(0, seeds, seeds), random.integers(0, pairs, pairs))
        ratios.append(scores[drawn].mean() / reference[drawn].mean())
    low, high = np.quantile(ratios, [0.025, 0.975])
    values = (100 * (ratio - 1) for ratio in (scores.mean() / reference.mean(), low, high))
    middle, first, last = (f"{value:+.0f}".replace("-", "−") for value in values)
    return f"{middle} % [{first}, {last}]"


if __name__ == "__main__":
    main()
