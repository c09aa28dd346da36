"""The ranges of pixel values and hints that the model takes, the same in training and serving."""

from typing import TypeVar

Pixels = TypeVar("Pixels")
"""A numpy array or a torch tensor; the arithmetic is the same."""

HINT_CHANNELS = 4
"""Red, green and blue in −1..1, times the mask; then the mask in 0..1."""


def to_model_range(pixels: Pixels) -> Pixels:
    """Float pixels in 0..255 → float in −1..1, any shape. Integers must be cast to float first."""
    return pixels / 127.5 - 1.0  # type: ignore[operator, return-value]


def to_pixel_range(values: Pixels) -> Pixels:
    """Float in −1..1 → float pixels in 0..255: the inverse of :func:`to_model_range`.

    The caller rounds, clips and casts to ``uint8``, each in its own library.
    """
    return (values + 1.0) * 127.5  # type: ignore[operator, return-value]
