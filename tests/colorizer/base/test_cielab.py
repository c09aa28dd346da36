"""CIELAB: published values for arrays and tensors, and the way back."""

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
import torch

from colorizer.base.cielab import lab_to_srgb, srgb_to_lab
from pipeline_steps.scores.metrics import rgb_to_lab

# Lindbloom's calculator, sRGB under D65, 2° observer
PUBLISHED = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (119, 119, 119): (50.03, 0.0, 0.0),
    (128, 128, 128): (53.59, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (5, 5, 5): (1.37, 0.0, 0.0),
}


def as_batch(rgb: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.array(rgb, np.float64).reshape(1, 3, 1, 1) / 255


@pytest.mark.parametrize(("rgb", "lab"), PUBLISHED.items())
def test_arrays_and_tensors_give_the_published_values(
    rgb: tuple[int, ...], lab: tuple[float, ...]
) -> None:
    array = srgb_to_lab(as_batch(rgb), np)
    tensor = srgb_to_lab(torch.from_numpy(as_batch(rgb)).float(), torch)
    assert array.ravel().tolist() == pytest.approx(lab, abs=0.01)
    assert tensor.ravel().tolist() == pytest.approx(lab, abs=0.02)
    assert array.dtype == np.float64
    assert tensor.dtype == torch.float32


def test_values_outside_the_range_are_clipped() -> None:
    outside = np.array([-0.5, 2.0, 0.5]).reshape(1, 3, 1, 1)
    assert np.array_equal(srgb_to_lab(outside, np), srgb_to_lab(outside.clip(0, 1), np))


def rgb_to_lab_with_torch(rgb: torch.Tensor) -> torch.Tensor:
    """How the chroma metric computed it when the published scores were measured."""
    matrix = torch.tensor(
        [
            [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
        ]
    )
    knee = 6 / 29
    encoded = ((rgb + 1.0) * 127.5 / 255.0).clamp(0.0, 1.0)
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055).pow(2.4))
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    f = torch.where(xyz > knee**3, xyz.clamp_min(1e-12).pow(1 / 3), xyz / (3 * knee**2) + 4 / 29)
    x, y, z = f.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 33, 17), (5, 3, 64, 64), (1, 3, 256, 256)])
def test_the_conversion_of_the_metrics_is_bit_identical_to_torchs(shape: tuple[int, ...]) -> None:
    random = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    dark = -1 + random.abs() / 50
    for pictures in (random, dark, random.round(), random.to(memory_format=torch.channels_last)):
        assert torch.equal(rgb_to_lab(pictures), rgb_to_lab_with_torch(pictures))


@pytest.mark.parametrize("value", [-1.0, 1.0, 0.0, -0.0, -1.5, 1.5, -0.9191, float("nan")])
def test_the_conversion_of_the_metrics_is_bit_identical_at_the_edges(value: float) -> None:
    pictures = torch.full((1, 3, 4, 4), value)
    found, expected = rgb_to_lab(pictures), rgb_to_lab_with_torch(pictures)
    assert found.numpy().tobytes() == expected.numpy().tobytes()


def test_the_way_back_from_cielab_gives_the_same_colours() -> None:
    encoded = np.random.default_rng(0).random((2, 3, 30, 20))
    encoded[0, :, 0] = 0.0
    encoded[0, :, 1] = 1.0
    assert np.abs(lab_to_srgb(srgb_to_lab(encoded, np), np) - encoded).max() < 1e-6


def test_a_colour_outside_srgb_is_outside_the_range() -> None:
    too_green = np.array([80.0, -120.0, 80.0]).reshape(1, 3, 1, 1)
    assert lab_to_srgb(too_green, np).min() < 0


def test_neither_torch_nor_pillow_is_imported_with_it() -> None:
    code = "import sys, colorizer.base.cielab; print({'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
