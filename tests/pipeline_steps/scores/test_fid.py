from pathlib import Path

import pytest
import torch
from torchvision.models import inception_v3

from pipeline_steps.base.errors import DataError
from pipeline_steps.scores.fid import fid, load_inception


def test_fid_of_normal_distributions_is_their_formula() -> None:
    torch.manual_seed(0)
    same = torch.randn(20_000, 3, dtype=torch.float64)
    other = 2.0 * torch.randn(20_000, 3, dtype=torch.float64) + 1.0
    # 3·1² between the means, 3·(2 − 1)² between the standard deviations
    assert fid(other, same) == pytest.approx(6.0, rel=0.05)
    assert fid(same, same) == pytest.approx(0.0, abs=1e-6)


def test_weights_from_a_file_give_features_and_are_identified(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "inception.pth"
    torch.save(inception_v3(weights=None, init_weights=False).state_dict(), path)
    inception = load_inception(path)
    features = inception(torch.rand(2, 3, 32, 32) * 2 - 1)
    assert features.shape == (2, 2048)
    assert features.dtype == torch.float64
    assert len(inception.sha256) == 64


@pytest.mark.parametrize("content", ["missing", "text", "empty", "another network"])
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.pth"
    if content == "another network":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    elif content != "missing":
        path.write_text("weights" if content == "text" else "")
    with pytest.raises(DataError, match=r"scores\.inception_weights: .*weights\.pth") as raised:
        load_inception(path)
    assert "\n" not in str(raised.value)
