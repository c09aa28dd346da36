"""Checks that an exported model works and obeys hints, which its mean scores don't show."""

import io
import statistics
import time

import numpy as np
from PIL import Image

from colorizer.base.errors import ColorizerError
from colorizer.runtime import Colorizer
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs
from pipeline_steps.pairs.values import array_of

ODD_SIZES = ((1, 1), (16, 16), (37, 211), (640, 360))
"""Width and height in pixels of sketches that every model must colour."""
TIMED_RUNS = 5


def find_failures(colorizer: Colorizer, *, max_latency_ms: float) -> list[str]:
    """What is wrong with a loaded model, one line each; empty if nothing is."""
    failures = []
    for width, height in ODD_SIZES:
        failure = _fails_on(colorizer, width, height)
        if failure:
            failures.append(f"fails on a sketch of {width}×{height}: {failure}")
    if failures:
        return failures
    size = colorizer.model.image_size
    for name, level in (("black", -1.0), ("white", 1.0)):
        output = colorizer.session.run(np.full((1, 1, size, size), level, np.float32))
        if not np.isfinite(output).all() or np.abs(output).max() > 1.0:
            failures.append(f"gives values that are not in −1..1 for a {name} sketch")
    latency_ms = measure_latency_ms(colorizer)
    if latency_ms > max_latency_ms:
        failures.append(
            f"takes {latency_ms:.0f} ms per picture, promotion.max_latency_ms is {max_latency_ms:g}"
        )
    return failures


def find_disobedience(
    colorizer: Colorizer, pairs: PackedPairs, *, max_hint_distance: float, seed: int
) -> list[str]:
    """What is wrong with how a model follows hints on the test pairs; empty if it takes none.

    ``max_hint_distance``: of the median region's colours from its hint's, in CIELAB units.
    """
    if not colorizer.model.takes_hints:
        return []
    import torch
    from torch.nn import functional

    from pipeline_steps.hints.obedience import choose_pairs, measure_obedience

    def colour(sketch: torch.Tensor, hints: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(colorizer.session.run(sketch.numpy(), hints=hints.numpy()))

    values = torch.from_numpy(array_of(pairs.pixels[choose_pairs(len(pairs)).numpy()]))
    size = (colorizer.model.image_size,) * 2
    if values.shape[-2:] != size:
        values = functional.interpolate(values, size, mode="bilinear", antialias=True)
    obedience = measure_obedience(colour, values[:, COLOUR], values[:, SKETCH], seed=seed)
    distance = obedience.medians().get("in_region")
    if distance is None:
        return ["obeying hints can't be judged: no test picture has a flat region"]
    if distance <= max_hint_distance:
        return []
    return [
        f"doesn't obey hints: the median region differs by {distance:.1f} from the colour given in"
        f" it (CIELAB), promotion.max_hint_distance is {max_hint_distance:g}"
    ]


def measure_latency_ms(colorizer: Colorizer) -> float:
    """Median milliseconds for one picture of the model's size, after a first one to warm up."""
    size = colorizer.model.image_size
    sketch = np.ones((1, 1, size, size), np.float32)
    colorizer.session.run(sketch)
    seconds = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        colorizer.session.run(sketch)
        seconds.append(time.perf_counter() - started_s)
    return 1000 * statistics.median(seconds)


def _fails_on(colorizer: Colorizer, width: int, height: int) -> str | None:
    file = io.BytesIO()
    Image.new("L", (width, height), 255).save(file, "PNG")
    try:
        coloured = colorizer(file.getvalue())
    except (ColorizerError, RuntimeError, ValueError) as error:
        return str(error).splitlines()[0]
    return None if coloured.size == (width, height) else f"gives {coloured.size}"
