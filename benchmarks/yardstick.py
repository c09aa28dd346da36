"""What each metric sees: drawn pictures with one fault each, scored by all of them.

    python -m benchmarks.yardstick --pairs 60 --picture docs/yardstick.png

Each fault is made from the truth, so a metric that stays at its best value is blind to that fault.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from colorizer.base.pixels import to_pixel_range
from pipeline_steps.base.column_labels import label_columns
from pipeline_steps.drawing.character import draw_pair
from pipeline_steps.pairs.packed import COLOUR, SKETCH, UInt8Array, pack
from pipeline_steps.pairs.values import tensor_of
from pipeline_steps.scores.definitions import METRIC_TITLES, METRICS
from pipeline_steps.scores.kid import features_of, kid
from pipeline_steps.scores.regions import MIN_PAPER, find_regions
from pipeline_steps.scores.scorer import Scorer

GAP_PX = 4
LEAK_PX = 6
BATCH_PAIRS = 10


def main() -> None:
    """Draw pairs, make each fault, print a table of all metrics, and write a picture of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--picture", type=Path, help="a PNG of the first pair with each fault")
    arguments = parser.parse_args()
    pairs = tensor_of(
        torch.from_numpy(np.stack([draw(n, arguments.size) for n in range(arguments.pairs)]))
    )
    print(format_table(score_cases(pairs), arguments.pairs))
    if arguments.picture:
        shown = {name: case(pairs[:1]) for name, case in CASES.items()}
        save_row(arguments.picture, {"sketch": pairs[:1, SKETCH].expand(-1, 3, -1, -1), **shown})


def draw(number: int, size: int) -> UInt8Array:
    """A character of the sample, packed: S×S×4 ``uint8``."""
    colour, sketch = (
        np.asarray(half.resize((size, size), Image.Resampling.BOX)) for half in draw_pair(2, number)
    )
    return pack(colour, sketch)


def score_cases(pairs: Tensor) -> dict[str, dict[str, float]]:
    """N×4×S×S pairs in −1..1 → the mean of each metric, and KID, by case."""
    scorer = Scorer(st_lpips=True, device=torch.device("cpu"))
    sums: dict[str, dict[str, float]] = {name: dict.fromkeys(METRICS, 0.0) for name in CASES}
    features: dict[str, list[Tensor]] = {}
    for batch in pairs.split(BATCH_PAIRS):
        reference = scorer.reference(batch[:, COLOUR], batch[:, SKETCH])
        assert reference.maps is not None
        features.setdefault("all truths", []).append(features_of(reference.maps))
        for name, case in CASES.items():
            scores = scorer.score(case(batch), reference)
            assert scores.features is not None
            features.setdefault(name, []).append(scores.features)
            for metric, values in scores.values.items():
                sums[name][metric] += values.sum().item() / len(pairs)
    # KID compares different pictures: one half of the cases with the other half of the truths
    half = len(pairs) // 2
    truths = torch.cat(features["all truths"])[half:]
    for name, means in sums.items():
        means["kid"] = kid(torch.cat(features[name])[:half], truths, resamples=2).value
    return sums


def format_table(cases: dict[str, dict[str, float]], num_pairs: int) -> str:
    """A Markdown table, one line per case."""
    columns = {**METRIC_TITLES, "kid": "KID·1000"}
    lines = [f"| {num_pairs} drawn pairs | " + " | ".join(columns.values()) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name, means in cases.items():
        lines.append(f"| {name} | " + " | ".join(f"{means[key]:.3f}" for key in columns) + " |")
    return "\n".join(lines)


def truth(pairs: Tensor) -> Tensor:
    """The best that there is."""
    return pairs[:, COLOUR]


def copy_of_the_sketch(pairs: Tensor) -> Tensor:
    """No colour, every line."""
    return pairs[:, SKETCH].expand(-1, 3, -1, -1)


def blurred(pairs: Tensor) -> Tensor:
    """Means over 7×7 pixels."""
    return functional.avg_pool2d(pairs[:, COLOUR], 7, stride=1, padding=3, count_include_pad=False)


def grey(pairs: Tensor) -> Tensor:
    """The right lightness without colour."""
    return pairs[:, COLOUR].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


def rainbow(pairs: Tensor) -> Tensor:
    """The largest region in all hues."""
    phase = torch.linspace(0, 2 * torch.pi, pairs.shape[-1]).expand(pairs.shape[-2], -1)
    hues = torch.stack([torch.cos(phase + shift) for shift in (0.0, 2.1, 4.2)])
    return torch.where(largest_region(pairs), 0.7 * hues, pairs[:, COLOUR])


def leaking(pairs: Tensor) -> Tensor:
    """The second largest region's colour, past the lines around it."""
    region = largest_region(pairs, rank=2).float()
    reached = functional.max_pool2d(region, 2 * LEAK_PX + 1, stride=1, padding=LEAK_PX) > 0
    colour = pairs[:, COLOUR]
    mean = (colour * region).sum(dim=(2, 3)) / region.sum(dim=(2, 3)).clamp_min(1)
    is_paper = pairs[:, SKETCH] > MIN_PAPER
    return torch.where(reached & is_paper, mean[..., None, None], colour)


def shifted(pairs: Tensor) -> Tensor:
    """Moved by 2 px."""
    return torch.roll(pairs[:, COLOUR], 2, dims=-1)


def other_hues(pairs: Tensor) -> Tensor:
    """Red and blue exchanged."""
    return pairs[:, COLOUR].flip(1)


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "truth": truth,
    "copy of the sketch": copy_of_the_sketch,
    "blurred": blurred,
    "grey": grey,
    "rainbow in one region": rainbow,
    "leak": leaking,
    "shifted by 2 px": shifted,
    "wrong hues": other_hues,
}


def largest_region(pairs: Tensor, *, rank: int = 1) -> Tensor:
    """N×1×S×S booleans: the region with the most pixels, or the one of that rank by pixels."""
    masks = []
    for regions in find_regions(pairs[:, SKETCH]):
        areas = np.bincount(regions.labels.ravel(), minlength=rank + 1)
        areas[0] = 0
        masks.append(torch.from_numpy(regions.labels == int(np.argsort(areas)[-rank])))
    return torch.stack(masks)[:, None]


def save_row(path: Path, pictures: dict[str, Tensor]) -> None:
    """Write labelled 1×3×S×S pictures side by side as a PNG."""
    rows = [
        to_pixel_range(picture[0]).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        for picture in pictures.values()
    ]
    gap = np.full((rows[0].shape[0], GAP_PX, 3), 255, np.uint8)
    joined = np.concatenate([part for row in rows for part in (gap, row)][1:], axis=1)
    size = rows[0].shape[1]
    labelled = label_columns(joined, list(pictures), column_px=size, gap_px=GAP_PX)
    Image.fromarray(labelled).save(path)


if __name__ == "__main__":
    main()
