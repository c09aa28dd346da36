"""Pairs for tests: a colour picture and its sketch, and both side by side."""

import numpy as np

from tests.colorizer.drawing import png

SIDE_PX = 64


def draw_halves(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A colour picture and its sketch, 64×64: four blocks, different for every seed."""
    random = np.random.default_rng(seed)
    colour = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    sketch = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    for _ in range(4):
        left, top = random.integers(4, 40, 2)
        width, height = random.integers(8, 24, 2)
        area = slice(top, top + height), slice(left, left + width)
        colour[area] = random.integers(0, 256, 3)
        colour[area][..., random.integers(3)] = 255
        sketch[area] = 255
        for edge in (0, -1):
            sketch[area][edge] = sketch[area][:, edge] = 0
    return colour, sketch


def pair_png(seed: int, *, sketch_left: bool = False) -> bytes:
    """Both halves side by side."""
    halves = draw_halves(seed)
    return beside(*(halves[::-1] if sketch_left else halves))


def beside(*halves: np.ndarray) -> bytes:
    """Pictures side by side, as a PNG."""
    return png(np.concatenate(halves, axis=1))
