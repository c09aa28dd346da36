import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from pipeline_steps.base.errors import DataError
from pipeline_steps.scores import st_lpips
from pipeline_steps.scores.st_lpips import load_network, read_weights

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """Coloured discs on white, 1×3×96×96."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    picture = torch.ones(1, 3, 96, 96)
    for left, top, colour in ((30, 30, (0.8, -0.6, -0.4)), (62, 58, (-0.7, 0.1, 0.7))):
        disc = ((x - left) ** 2 + (y - top) ** 2) < 18**2
        picture[:, :, disc] = torch.tensor(colour).view(1, 3, 1)
    return picture


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_equal_pictures_have_distance_0_and_others_more(
    trunk: st_lpips.Trunk, picture: torch.Tensor
) -> None:
    network = load_network(trunk)
    assert network(picture, picture).item() == 0.0
    assert network(picture, -picture).item() > 0.1


def test_values_are_those_of_the_published_code() -> None:
    # what stlpips_pytorch 0.0.2 itself gives for this ramp and its mirror image
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    found = {trunk: load_network(trunk)(ramp, ramp.flip(-1)).item() for trunk in ("alex", "vgg")}
    assert found == pytest.approx({"alex": 0.440565, "vgg": 0.280006}, rel=1e-4)


def test_a_shift_costs_little_a_blur_and_other_colours_much(picture: torch.Tensor) -> None:
    network = load_network()
    shifted = network(picture, torch.roll(picture, 2, dims=-1)).item()
    blurred = network(picture, functional.avg_pool2d(picture, 9, 1, 4)).item()
    recoloured = network(picture, picture[:, [2, 1, 0]]).item()
    assert 5 * shifted < blurred
    assert 5 * shifted < recoloured


def test_a_gradient_flows_to_the_picture_and_not_to_the_network(picture: torch.Tensor) -> None:
    generated = torch.zeros_like(picture, requires_grad=True)
    load_network.cache_clear()
    with torch.inference_mode():
        network = load_network()
    network(generated, picture).sum().backward()
    assert generated.grad is not None
    assert torch.isfinite(generated.grad).all()
    assert generated.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in network.parameters())


def test_without_the_package_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st_lpips, "PACKAGE", "no-such-package")
    with pytest.raises(DataError, match=r"isn't installed; install it with `pip install") as raised:
        read_weights("alex")
    assert "scores.st_lpips to false" in str(raised.value)


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_missing_or_damaged_weights_are_named(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "alex.pth"
    shutil.copy(st_lpips.find_weights("alex"), copy)
    if damage == "missing":
        copy.unlink()
    else:
        data = bytearray(copy.read_bytes())
        data[len(data) // 2] ^= 1
        copy.write_bytes(data[:-1] if damage == "truncated" else data)
    monkeypatch.setattr(st_lpips, "find_weights", lambda _: copy)
    with pytest.raises(DataError, match=str(copy)) as raised:
        read_weights("alex")
    assert "\n" not in str(raised.value)


def test_training_stops_before_it_begins(tmp_path: Path) -> None:
    # found before the installed package: one without its files
    fake = tmp_path / "packages" / "stlpips_pytorch-0.0.2.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: stlpips_pytorch\nVersion: 0.0.2\n")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline_steps", "train"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{fake.parent}{os.pathsep}{REPOSITORY}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "alex_shift_tolerant.pth can't be read (No such file or directory)" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packages", "params.yaml"]


def test_the_package_is_read_and_never_imported() -> None:
    load_network()
    assert "stlpips_pytorch" not in sys.modules
    assert metadata.version("stlpips-pytorch") == st_lpips.VERSION
