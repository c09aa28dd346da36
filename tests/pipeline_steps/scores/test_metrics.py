import math

import pytest
import torch
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure

from pipeline_steps.scores.metrics import chroma, l1, psnr, rgb_to_lab, score, ssim
from tests.colorizer.base.test_cielab import PUBLISHED


def constant(value: float, num: int = 1) -> torch.Tensor:
    return torch.full((num, 3, 16, 16), value)


def test_l1_is_in_units_of_the_model_range() -> None:
    assert l1(constant(1.0), constant(-1.0)).item() == 2.0


def test_psnr_takes_a_data_range_of_two() -> None:
    assert psnr(constant(0.2), constant(0.0)).item() == pytest.approx(10 * math.log10(4 / 0.04))


def test_psnr_of_equal_pictures_is_finite() -> None:
    assert psnr(constant(0.3), constant(0.3)).item() == pytest.approx(106.02, abs=0.01)


def test_ssim_is_one_for_equal_pictures_and_one_value_per_picture() -> None:
    pictures = torch.rand(3, 3, 16, 16) * 2 - 1
    assert torch.allclose(ssim(pictures, pictures), torch.ones(3))
    assert ssim(pictures, torch.rand(3, 3, 16, 16) * 2 - 1).max() < 0.5
    assert ssim(pictures[:1], pictures[:1]).shape == (1,)


@pytest.mark.parametrize("size", [(16, 16), (32, 48)])
def test_ssim_agrees_with_torchmetrics(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    coarse = torch.rand(3, 3, 4, 4) * 2 - 1
    truth = functional.interpolate(coarse, size=size, mode="bicubic").clamp(-1, 1)
    noise = torch.randn(truth.shape) * torch.tensor([0.0, 0.05, 0.5]).view(3, 1, 1, 1)
    expected = structural_similarity_index_measure(
        truth + noise, truth, data_range=2.0, kernel_size=11, sigma=1.5, reduction="none"
    )
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(ssim(truth + noise, truth), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rgb", "lab"), PUBLISHED.items())
def test_lab_agrees_with_published_values(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    values = torch.tensor(rgb).float().reshape(1, 3, 1, 1) / 127.5 - 1
    assert rgb_to_lab(values).flatten().tolist() == pytest.approx(lab, abs=0.05)


def test_chroma_ignores_lightness() -> None:
    assert chroma(constant(1.0), constant(-1.0)).item() == pytest.approx(0.0, abs=1e-3)
    red = constant(-1.0)
    red[:, 0] = 1.0
    assert chroma(red, constant(-1.0)).item() == pytest.approx((80.09 + 67.20) / 2, abs=0.1)


def test_scores_are_per_picture() -> None:
    truth = torch.cat([constant(0.0), constant(1.0)])
    scores = score(truth, constant(0.0, 2))
    assert set(scores) == {"l1", "psnr", "ssim", "chroma"}
    assert scores["l1"].tolist() == [0.0, 1.0]


def test_pictures_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="need two"):
        score(constant(0.0), constant(0.0, 2))
