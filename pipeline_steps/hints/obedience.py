"""Whether a generator obeys a hint, and leaves the rest alone.

One dot a picture, of a colour that another picture has there, so that the sketch can't tell it: as
when an artist wants it otherwise. CIELAB distances (CIE76).

Shape legend: N pictures, S = image size in pixels; values in −1..1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline_steps.hints.by_region import Dots, paint_dots, place_dots
from pipeline_steps.scores.regions import to_lab

Float64Array = npt.NDArray[np.float64]
Colour = Callable[[Tensor, Tensor], Tensor]
"""N×1×S×S sketches, N×4×S×S hints → N×3×S×S."""
MAX_PAIRS = 256
"""Of a test set, evenly spaced: more would need memory by the gigabyte and change no median."""
BESIDE_PX = 6
CANDIDATES = 10
"""Dots of another picture, of which the most colourful one's colour is wanted."""


class Obedience(NamedTuple):
    """Distances by picture, N each; NaN for a picture that has no such pixel."""

    at_hint: Float64Array
    """From the wanted colour, mean over the dot."""
    in_region: Float64Array
    """From the wanted colour, mean over the region that the dot lies in."""
    elsewhere: Float64Array
    """From the picture without a hint, mean over the other regions."""
    across_ink: Float64Array
    """The same within ``BESIDE_PX`` of the hint's region: what crosses a line."""

    def medians(self) -> dict[str, float]:
        """The median of each over the pictures that have it, by name; without what none has."""
        return {
            name: round(float(np.nanmedian(values)), 4)
            for name, values in self._asdict().items()
            if np.isfinite(values).any()
        }


def choose_pairs(count: int) -> Tensor:
    """Which of so many pairs are measured: at most ``MAX_PAIRS`` int64."""
    return torch.linspace(0, count - 1, min(count, MAX_PAIRS)).long()


def measure_obedience(
    colour: Colour, truth: Tensor, sketch: Tensor, *, seed: int, batch_size: int = 16
) -> Obedience:
    """Measure on N true pictures and their sketches."""
    dots = place_dots(truth, sketch, [seed + number for number in range(len(truth))], CANDIDATES)
    wanted = choose_colours(truth, dots)
    has_dot = [number for number, each in enumerate(dots) if len(each.rows)]
    results = np.full((len(Obedience._fields), len(truth)), np.nan)
    for start in range(0, len(has_dot), batch_size):
        chosen = has_dot[start : start + batch_size]
        part_truth, part_sketch = truth[chosen], sketch[chosen]
        part_dots, colours = [dots[number] for number in chosen], wanted[chosen]
        hints = paint_dots(part_truth, part_sketch, part_dots, 1, colours)
        with_hint = to_lab(colour(part_sketch, hints))
        without = to_lab(colour(part_sketch, torch.zeros_like(hints)))
        target = to_lab(colours[:, :, None, None])
        for at, number in enumerate(chosen):
            labels, region = part_dots[at].labels, part_dots[at].regions[0]
            others = (labels > 0) & (labels != region)
            distances = np.linalg.norm(with_hint[at] - target[at], axis=-1)
            moved = np.linalg.norm(with_hint[at] - without[at], axis=-1)
            measured = Obedience(
                at_hint=distances[hints[at, 3].numpy() > 0],
                in_region=distances[labels == region],
                elsewhere=moved[others],
                across_ink=moved[others & widen(labels == region, BESIDE_PX)],
            )
            for row, values in enumerate(measured):
                if len(values):
                    results[row, number] = values.mean()
    return Obedience(*results)


def widen(mask: npt.NDArray[np.bool_], radius_px: int) -> npt.NDArray[np.bool_]:
    """An S×S mask and all within a square of so many pixels around it."""
    inside = torch.from_numpy(mask)[None, None].float()
    wide = functional.max_pool2d(inside, 2 * radius_px + 1, stride=1, padding=radius_px)
    return (wide[0, 0] > 0).numpy()


def choose_colours(truth: Tensor, dots: Sequence[Dots]) -> Tensor:
    """For each picture the most colourful of the next picture's first dots: N×3.

    Of a picture without dots, white.
    """
    best = []
    for picture, its in zip(truth, dots, strict=True):
        under = picture[:, its.rows, its.columns].T
        if not len(under):
            best.append(torch.ones(3))
            continue
        chroma = under.amax(dim=1) - under.amin(dim=1)
        best.append(under[int(chroma.argmax())])
    return torch.stack(best).roll(-1, dims=0)
