"""What hints change, beside what they could change at most.

    python -m benchmarks.hint_ceiling --prepared data/prepared \
        --generator models/generator.safetensors

A hint speaks for the region it lies in. So three pictures are scored for each number of dots: the
generator's; that without hints, with each hinted region filled with its true mean colour; and the
same with the true picture itself in the hinted regions, which no answer to these hints can beat by
much.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline_steps.evaluate.scoring import read_halves
from pipeline_steps.hints.by_region import Dots, paint_dots, place_dots
from pipeline_steps.networks.generator import Generator, load_generator
from pipeline_steps.pairs.packed import read_pairs
from pipeline_steps.scores.metrics import score

SEED = 1
BATCH_SIZE = 16


def main() -> None:
    """Print a Markdown table: a line for each number of dots and picture."""
    arguments = parse_arguments()
    pairs = read_pairs(arguments.prepared / "test.npy")
    generator = load_generator(arguments.generator)
    sketch, truth = read_halves(pairs, torch.arange(len(pairs)))
    seeds = [SEED + number for number in range(len(pairs))]
    dots = place_dots(truth, sketch, seeds, max(arguments.counts))
    with torch.inference_mode():
        plain = torch.cat([generator(part) for part in sketch.split(BATCH_SIZE)])
        print("| dots | picture | pixels in hinted regions | L1 | PSNR dB | chroma |")
        print("|---|---|---|---|---|---|")
        print_line(0, "the generator's", 0.0, plain, truth)
        for count in arguments.counts:
            hints = paint_dots(truth, sketch, dots, count)
            share = float(np.mean([hinted(each, count).mean() for each in dots]))
            followed = follow(generator, plain, sketch, hints)
            print_line(count, "the generator's", share, followed, truth)
            for name, fill in (("mean colours", mean_colour), ("the truth", torch.clone)):
                filled = fill_hinted(plain, truth, dots, count, fill)
                print_line(count, f"{name} in hinted regions", share, filled, truth)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, required=True, help="a folder of packed pairs")
    parser.add_argument("--generator", type=Path, required=True, help="that takes hints")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 50])
    return parser.parse_args()


def hinted(dots: Dots, count: int) -> np.ndarray:
    """S×S bool: in a region with one of the first ``count`` dots."""
    return np.isin(dots.labels, dots.regions[:count]) & (dots.labels > 0)


def follow(generator: Generator, plain: Tensor, sketch: Tensor, hints: Tensor) -> Tensor:
    """The N×3×S×S pictures that hints make of those without."""
    parts = zip(*(each.split(BATCH_SIZE) for each in (plain, sketch, hints)), strict=True)
    return torch.cat([generator.follow(*part) for part in parts])


def mean_colour(pixels: Tensor) -> Tensor:
    """3×P → their mean, 3×1."""
    return pixels.mean(dim=1, keepdim=True)


def fill_hinted(
    plain: Tensor, truth: Tensor, dots: Sequence[Dots], count: int, fill: Callable[[Tensor], Tensor]
) -> Tensor:
    """N×3×S×S: ``plain``, with what ``fill`` makes of the true pixels in each hinted region."""
    filled = plain.clone()
    for picture, true_picture, each in zip(filled, truth, dots, strict=True):
        for region in set(each.regions[:count].tolist()):
            inside = torch.from_numpy(each.labels == region)
            picture[:, inside] = fill(true_picture[:, inside])
    return filled


def print_line(count: int, name: str, share: float, pictures: Tensor, truth: Tensor) -> None:
    """Score pictures, and print their line."""
    means = {metric: float(values.mean()) for metric, values in score(pictures, truth).items()}
    print(
        f"| {count} | {name} | {share:.0%} | {means['l1']:.3f} | {means['psnr']:.1f} |"
        f" {means['chroma']:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
