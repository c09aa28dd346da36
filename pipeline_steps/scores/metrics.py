"""How close a coloured picture is to the truth, picture by picture.

Shape legend: N pictures, S pixels square, float in −1..1, channels first. Every score is N values.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from colorizer.base.cielab import srgb_to_lab
from colorizer.base.pixels import to_pixel_range

DATA_RANGE = 2.0
"""Largest difference of two values in −1..1."""
SMALLEST_MSE = 1e-10
"""Bounds PSNR at 106 dB, so that equal pictures don't make a mean infinite."""
SSIM_WINDOW_PX, SSIM_SIGMA_PX = 11, 1.5
METRICS = ("l1", "psnr", "ssim", "chroma")


def score(generated: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """All metrics of N×3×S×S pictures: ``{"l1", "psnr", "ssim", "chroma"}``, each N float32.

    l1 in −1..1 units; psnr in dB with data range 2; ssim with an 11×11 Gaussian window on RGB;
    chroma in CIELAB units. Raises :class:`ValueError` on shapes that differ.
    """
    if generated.shape != truth.shape or generated.ndim != 4 or generated.shape[1] != 3:
        raise ValueError(f"need two N×3×S×S, got {tuple(generated.shape)}, {tuple(truth.shape)}")
    metrics: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "l1": l1,
        "psnr": psnr,
        "ssim": ssim,
        "chroma": chroma,
    }
    generated, truth = generated.float(), truth.float()
    return {name: metric(generated, truth) for name, metric in metrics.items()}


def l1(generated: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference, in −1..1 units; lower is better."""
    return (generated - truth).abs().mean(dim=(1, 2, 3))


def psnr(generated: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB with data range 2; higher is better."""
    mse = (generated - truth).square().mean(dim=(1, 2, 3))
    return 10.0 * torch.log10(DATA_RANGE**2 / mse.clamp_min(SMALLEST_MSE))


def ssim(generated: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, eq. 13), 11×11 Gaussian of σ 1.5; higher is better.

    The mean over all pixels, mirrored at the border, and channels. On −1..1 with data range 2. Its
    luminance term is not blind to the offset, so values lie below those on 0..1: copying 114
    sketches of emoji scores 0.806 here and 0.906 there.
    """
    # written out: torchmetrics gives the same, and importing it takes three seconds
    x, y = (pictures.flatten(0, 1)[:, None] for pictures in (generated, truth))
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = window_means(
        torch.cat([x, y, x * x, y * y, x * y])
    ).chunk(5)
    variances = (mean_xx - mean_x**2).clamp_min(0) + (mean_yy - mean_y**2).clamp_min(0)
    covariance = mean_xy - mean_x * mean_y
    c1, c2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    return similarity.reshape(len(generated), -1).mean(dim=1)


def window_means(maps: Tensor) -> Tensor:
    """Gaussian-weighted means of M×1×H×W over the 11×11 window around each pixel → M×1×H×W."""
    distances = torch.arange(SSIM_WINDOW_PX, device=maps.device) - SSIM_WINDOW_PX // 2
    weights = torch.exp(-(distances**2) / (2 * SSIM_SIGMA_PX**2))
    weights = (weights / weights.sum()).to(maps.dtype)
    border = SSIM_WINDOW_PX // 2
    maps = functional.pad(maps, (border, border, border, border), mode="reflect")
    columns = functional.conv2d(maps, weights.view(1, 1, -1, 1))
    return functional.conv2d(columns, weights.view(1, 1, 1, -1))


def chroma(generated: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error of a* and b* in CIELAB: wrong colours, whatever the lightness."""
    difference = rgb_to_lab(generated)[:, 1:] - rgb_to_lab(truth)[:, 1:]
    return difference.abs().mean(dim=(1, 2, 3))


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """N×3×S×S sRGB in −1..1 → CIELAB under D65 (CIE 15), L* in 0..100, a* and b* about ±128."""
    return srgb_to_lab(to_pixel_range(rgb) / 255.0, torch)
