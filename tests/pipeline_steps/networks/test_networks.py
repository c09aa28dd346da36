from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline_steps.base.errors import DataError
from pipeline_steps.networks.discriminator import Discriminator
from pipeline_steps.networks.generator import (
    Generator,
    GeneratorArchitecture,
    darken,
    load_generator,
    save_generator,
)
from pipeline_steps.train.losses import adversarial_loss, discriminator_loss, l1_loss


def count_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_networks_have_the_numbers_of_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        generator = Generator(GeneratorArchitecture(image_size=256))
        discriminator = Discriminator()
    assert count_parameters(generator) == 54_413_955
    assert count_parameters(discriminator) == 2_768_705


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
def test_the_generator_keeps_the_size_and_stays_in_range(image_size: int, upsampling: str) -> None:
    architecture = GeneratorArchitecture(image_size=image_size, width=4, upsampling=upsampling)
    generator = Generator(architecture).eval()
    coloured = generator(torch.ones(2, 1, image_size, image_size))
    assert coloured.shape == (2, 3, image_size, image_size)
    assert coloured.abs().max() <= 1


def test_each_patch_logit_sees_70_pixels() -> None:
    discriminator = Discriminator(width=4, normalization="instance").eval()
    for module in discriminator.modules():  # batch statistics depend on all pixels
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda input: input  # type: ignore[method-assign]
    sketch = torch.zeros(1, 1, 256, 256)
    colour = torch.zeros(1, 3, 256, 256, requires_grad=True)
    logits = discriminator(sketch, colour)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    assert colour.grad is not None
    rows = colour.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 70


def test_any_density_of_ink_is_coloured_the_same() -> None:
    architecture = GeneratorArchitecture(image_size=32, width=4, darken_ink=True)
    generator = Generator(architecture).eval()
    pen = torch.ones(2, 1, 32, 32)
    pen[0, :, 10:12] = pen[1, :, :, 20] = -1.0
    pencil = 1 - (1 - pen) * torch.tensor([0.3, 0.6]).view(2, 1, 1, 1)
    torch.testing.assert_close(generator(pencil), generator(pen))
    assert torch.equal(darken(pen), pen)
    assert torch.equal(darken(torch.ones(1, 1, 32, 32)), torch.ones(1, 1, 32, 32))
    faint = torch.full((1, 1, 32, 32), 0.9)  # grain on white paper
    assert darken(faint).min() > 0.4


def test_a_bottleneck_of_several_pixels_has_fewer_blocks_and_weights() -> None:
    whole, short = (
        Generator(GeneratorArchitecture(image_size=128, width=4, bottleneck_px=px)) for px in (1, 4)
    )
    assert (len(whole.down), len(short.down)) == (7, 5)
    assert count_parameters(short) < 0.6 * count_parameters(whole)
    assert short.noise_shapes == [(32, 8, 8), (16, 16, 16), (8, 32, 32)]


def test_dropout_is_in_the_three_innermost_up_blocks() -> None:
    generator = Generator(GeneratorArchitecture(image_size=64, width=4))
    has_dropout = [
        any(isinstance(m, torch.nn.Dropout) for m in up.modules()) for up in generator.up
    ]
    assert has_dropout == [True, True, True, False, False, False]


def test_a_saved_generator_colours_the_same(tmp_path: Path) -> None:
    generator = Generator(GeneratorArchitecture(image_size=32, width=4)).eval()
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator.architecture, generator.state_dict())
    sketch = torch.rand(1, 1, 32, 32)
    assert torch.equal(load_generator(path)(sketch), generator(sketch))
    first = path.read_bytes()
    save_generator(path, generator.architecture, generator.state_dict())
    assert path.read_bytes() == first


@pytest.mark.parametrize("damage", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_a_file_that_is_not_a_generator_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "generator.safetensors"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="not a generator"):
        load_generator(path)


def test_a_missing_generator_is_reported_with_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro train"):
        load_generator(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 48},
        {"width": 0},
        {"normalization": "x"},
        {"upsampling": "x"},
        {"bottleneck_px": 0},
        {"bottleneck_px": 3},
        {"bottleneck_px": 16},
        {"dropout": 1.0},
    ],
)
def test_an_impossible_architecture_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        GeneratorArchitecture(**{"image_size": 64, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bce", "lsgan", "hinge"])
def test_losses_decrease_as_generator_and_discriminator_improve(kind: str) -> None:
    good, bad = torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 4, 4), -3.0)
    if kind == "lsgan":
        good, bad = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    assert discriminator_loss(kind, good, bad) < discriminator_loss(kind, bad, good)
    assert adversarial_loss(kind, good) < adversarial_loss(kind, bad)


def test_the_loss_of_an_undecided_discriminator_is_log_2() -> None:
    logits = torch.zeros(1, 1, 4, 4)
    assert discriminator_loss("bce", logits, logits).item() == pytest.approx(0.6931, abs=1e-4)


def test_l1_is_the_mean_absolute_difference() -> None:
    assert l1_loss(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 1.0])).item() == 1.5


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="gan_loss"):
        adversarial_loss("wgan", torch.zeros(1))


@pytest.mark.parametrize("network", ["generator", "discriminator"])
@pytest.mark.parametrize("normalization", ["batch", "instance"])
@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("num_pictures", [1, 2])
def test_the_gradient_is_the_slope(
    network: str, normalization: str, upsampling: str, num_pictures: int
) -> None:
    torch.manual_seed(0)
    architecture = GeneratorArchitecture(
        image_size=32, width=4, normalization=normalization, upsampling=upsampling, dropout=0.0
    )
    generator = Generator(architecture)
    discriminator = Discriminator(width=4, num_layers=2, normalization=normalization)
    for each in (generator, discriminator):
        each.double().to(memory_format=torch.channels_last)
    sketch = torch.rand(num_pictures, 1, 32, 32, dtype=torch.float64) * 2 - 1
    colour = torch.rand(num_pictures, 3, 32, 32, dtype=torch.float64) * 2 - 1

    def output() -> Tensor:
        y = generator(sketch) if network == "generator" else discriminator(sketch, colour)
        total: Tensor = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum()
        return total

    output().backward()
    learner = generator if network == "generator" else discriminator
    weight = next(learner.parameters())  # the gradient has passed through all layers
    assert weight.grad is not None
    direction = torch.randn(weight.shape, dtype=torch.float64)
    expected, step, outputs = (weight.grad * direction).sum().item(), 1e-8, []
    with torch.no_grad():
        for sign in (1, -1):
            weight.add_(direction, alpha=sign * step)
            outputs.append(output().item())
            weight.sub_(direction, alpha=sign * step)
    assert (outputs[0] - outputs[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)
