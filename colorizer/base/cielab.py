"""CIELAB: the one home of its constants and conversions.

CIE 15 under D65, the white point of sRGB, in floating point: for measurements and recolouring.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

Array = TypeVar("Array")
"""A numpy array or a torch tensor."""

WHITE_POINT_D65 = (0.95047, 1.0, 1.08883)
RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB → CIE XYZ under D65 (IEC 61966-2-1)."""
RGB_WHITE = tuple(sum(row) for row in RGB_TO_XYZ)
"""What the matrix makes of RGB white: Y is 1e-7 more than D65's, since its digits are rounded."""
LAB_KNEE = 6 / 29
"""Below its cube, CIE 15 replaces the cube root by a straight line."""


def srgb_to_lab(encoded: Array, xp: Any, *, white: Sequence[float] = WHITE_POINT_D65) -> Array:
    """N×3×H×W sRGB in 0..1 → N×3×H×W CIELAB under D65: L* 0..100, a* and b* about ±128.

    ``xp`` is the module of the array: ``numpy`` or ``torch``. Any floating dtype, which is kept;
    values outside 0..1 are clipped. Source: CIE 15:2004, section 8.2.1.
    """
    clipped = xp.clip(encoded, 0.0, 1.0)
    linear = xp.where(clipped <= 0.04045, clipped / 12.92, ((clipped + 0.055) / 1.055) ** 2.4)
    ratios = xp.einsum("ij,njhw->nihw", _rgb_to_ratios(white, linear, xp), linear)
    root = xp.clip(ratios, 1e-12, None) ** (1 / 3)
    f = xp.where(ratios > LAB_KNEE**3, root, ratios / (3 * LAB_KNEE**2) + 4 / 29)
    x, y, z = f[:, 0], f[:, 1], f[:, 2]
    lab: Array = xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
    return lab


def lab_to_srgb(lab: Any, xp: Any, *, white: Sequence[float] = WHITE_POINT_D65) -> Any:
    """N×3×H×W CIELAB under D65 → N×3×H×W sRGB: the inverse of :func:`srgb_to_lab`.

    Colours outside sRGB give values outside 0..1, which the caller clips. Any floating dtype.
    """
    y = (lab[:, 0] + 16) / 116
    f = xp.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], 1)
    ratios = xp.where(f > LAB_KNEE, f**3, 3 * LAB_KNEE**2 * (f - 4 / 29))
    matrix = xp.linalg.inv(_rgb_to_ratios(white, ratios, xp))
    linear = xp.einsum("ij,njhw->nihw", matrix, ratios)
    root = xp.clip(linear, 1e-12, None) ** (1 / 2.4)
    return xp.where(linear <= 0.0031308, 12.92 * linear, 1.055 * root - 0.055)


def _rgb_to_ratios(white: Sequence[float], like: Any, xp: Any) -> Any:
    """Linear sRGB → X, Y, Z relative to the white: 3×3, of the dtype and device of ``like``."""
    rows = [[value / level for value in row] for row, level in zip(RGB_TO_XYZ, white, strict=True)]
    return xp.asarray(rows, dtype=like.dtype, device=like.device)
