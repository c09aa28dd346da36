"""Quality against training time and against images seen, beside the peer's.

    python -m benchmarks.time_to_quality --peer ~/pytorch-CycleGAN-and-pix2pix \
        --prepared data/prepared --minutes 20

The peer trains with its defaults at the size of the pairs, then this project with ``params.yaml``,
each in a process of its own on all cores, on the same pairs with the same augmentation. Measuring
stops the clock. The peer is measured as its ``test.py`` uses it (dropout on, each picture's own
statistics) and in evaluation mode, and the better value of each counts.
"""

import argparse
import dataclasses
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import peer
from benchmarks.training_step import print_machine
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs, read_pairs
from pipeline_steps.params import read_params
from pipeline_steps.scores.definitions import HIGHER_IS_BETTER, METRIC_TITLES
from pipeline_steps.scores.scorer import Scorer
from pipeline_steps.train import trainer
from pipeline_steps.train.augmentation import jitter, plan_epoch
from pipeline_steps.train.batches import fetch
from pipeline_steps.train.device import choose_device, make_deterministic
from pipeline_steps.train.memory import keep_freed_memory

PEER_LOAD_SHARE = 286 / 256
BATCH_PAIRS = 16
Row = dict[str, float]
"""``seconds`` of training, ``images`` seen, and the mean of each metric on the test pairs."""


def main() -> None:
    """Train both, print a row of each measurement, then when ours reaches the peer's best."""
    arguments = parse_arguments()
    print_machine(arguments.peer, choose_device("auto"))
    results = {}
    for side in ("peer", "ours"):
        results[side] = list(measure(side, arguments))
    print(summarize(results["peer"], results["ours"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of the peer")
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    parser.add_argument("--minutes", type=float, default=20.0, help="the peer's training")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between measurements")
    parser.add_argument("--json", type=Path, help="write all rows there")
    return parser.parse_args()


def measure(side: str, arguments: argparse.Namespace) -> Any:
    """Train one side in a process of its own; yield its rows, printed as they come."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=SIDES[side], args=(sender, arguments), daemon=True)
    process.start()
    sender.close()
    while True:
        try:
            row = receiver.recv()
        except EOFError:
            break
        print(f"{side:5} {format_row(row)}", flush=True)
        yield row
    process.join()
    if process.exitcode:
        raise SystemExit(f"{side}: failed")


def train_peer(sender: Connection, arguments: argparse.Namespace) -> None:
    """Train the peer for so many minutes."""
    train, test = read_splits(arguments.prepared)
    size = train.image_size
    scorer, device = TestScorer(test), torch.device("cpu")
    load_size = round(PEER_LOAD_SHARE * size)
    torch.manual_seed(1)
    model = peer.build_peer(arguments.peer, device, image_size=size)
    network = peer.unwrap(model.netG)

    def colour(sketches: Tensor) -> Tensor:
        return torch.cat([network(each.expand(1, 3, -1, -1)) for each in sketches.split(1)])

    trained_s, next_s, images, epoch = 0.0, arguments.every, 0, 0
    while trained_s < 60 * arguments.minutes:
        plan = plan_epoch(
            seed=1,
            epoch=epoch,
            num_pairs=len(train),
            load_size=load_size,
            image_size=size,
            flip=True,
        )
        for index in range(len(train)):
            start_s = time.perf_counter()
            pairs = fetch(train, plan.order[index : index + 1], device)
            one = slice(index, index + 1)
            peer.peer_step(model, jitter(pairs, plan.corners[one], plan.mirrored[one], load_size))
            trained_s += time.perf_counter() - start_s
            images += 1
            if trained_s >= next_s:
                next_s += arguments.every
                as_used = scorer.score(colour)
                network.eval()
                fixed = scorer.score(colour)
                network.train()
                sender.send({"seconds": trained_s, "images": images, **better(as_used, fixed)})
        epoch += 1


def train_ours(sender: Connection, arguments: argparse.Namespace) -> None:
    """Train this project as ``params.yaml`` says, to its end."""
    keep_freed_memory()
    make_deterministic()
    train, test = read_splits(arguments.prepared)
    val = read_pairs(arguments.prepared / "val.npy")
    scorer = TestScorer(test)
    params = dataclasses.replace(read_params().train, sample_every_epochs=1)
    steps = max(1, len(train) // params.batch_size)
    start_s, paused_s = time.perf_counter(), 0.0

    def on_samples(epoch: int, coloured: Tensor) -> None:
        nonlocal paused_s
        now_s = time.perf_counter()
        row = {"seconds": now_s - start_s - paused_s, "images": epoch * steps * params.batch_size}
        if epoch:
            sender.send(row | scorer.score(lambda sketches: coloured))
        paused_s += time.perf_counter() - now_s

    with tempfile.TemporaryDirectory() as folder:
        trainer.train(
            train,
            val,
            params,
            panel_sketches=scorer.sketches,
            work_folder=Path(folder),
            fingerprint="time to quality",
            observer=trainer.TrainingObserver(on_samples=on_samples, on_epoch=lambda _: None),
            st_lpips=True,
        )


SIDES: dict[str, Callable[[Connection, argparse.Namespace], None]] = {
    "peer": train_peer,
    "ours": train_ours,
}


def read_splits(prepared: Path) -> tuple[PackedPairs, PackedPairs]:
    """The train and the test pairs."""
    return read_pairs(prepared / "train.npy"), read_pairs(prepared / "test.npy")


class TestScorer:
    """Scores what a function makes of all test sketches."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    def __init__(self, test: PackedPairs) -> None:
        halves = fetch(test, torch.arange(len(test)), torch.device("cpu"))
        self.sketches, self.truths = halves[:, SKETCH], halves[:, COLOUR]
        self.scorer = Scorer(st_lpips=True, device=torch.device("cpu"))
        batches = zip(self.truths.split(BATCH_PAIRS), self.sketches.split(BATCH_PAIRS), strict=True)
        self.references = [self.scorer.reference(truth, sketch) for truth, sketch in batches]

    @torch.no_grad()
    def score(self, colour: Callable[[Tensor], Tensor]) -> Row:
        """The mean of each metric."""
        coloured = colour(self.sketches).split(BATCH_PAIRS)
        scores = [
            self.scorer.score(each, reference).values
            for each, reference in zip(coloured, self.references, strict=True)
        ]
        return {
            metric: torch.cat([each[metric] for each in scores]).mean().item()
            for metric in METRIC_TITLES
        }


def better(first: Row, second: Row) -> Row:
    """The better value of each metric."""
    return {
        metric: (max if higher else min)(first[metric], second[metric])
        for metric, higher in HIGHER_IS_BETTER.items()
    }


def format_row(row: Row) -> str:
    """Seconds, images and metrics on one line."""
    metrics = "  ".join(f"{title} {row[key]:.3f}" for key, title in METRIC_TITLES.items())
    return f"{row['seconds']:6.0f} s {row['images']:6.0f} images  {metrics}"


def summarize(peer_rows: list[Row], ours: list[Row]) -> str:
    """When each metric of ours is first as good as the peer's best, a line each.

    The best and not the last: at batches of 1 the peer's metrics swing from minute to minute.
    """
    whole_s = peer_rows[-1]["seconds"]
    lines = []
    for metric, title in METRIC_TITLES.items():
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        best = max(peer_rows, key=lambda row: sign * row[metric])
        reached = (row for row in ours if sign * row[metric] >= sign * best[metric])
        row = next(reached, None)
        when = (
            f"after {row['seconds']:.0f} s, {row['seconds'] / whole_s:.0%} of the peer's time,"
            f" {row['images']:.0f} images"
            if row
            else f"not reached, best {sign * max(sign * each[metric] for each in ours):.3f}"
        )
        lines.append(
            f"{title}: the peer's best, {best[metric]:.3f} after {best['seconds']:.0f} s and"
            f" {best['images']:.0f} images: {when}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
