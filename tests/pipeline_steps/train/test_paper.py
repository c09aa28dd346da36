"""``params/paper.yaml`` is pix2pix to the letter, beside a plain implementation of the paper."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from pipeline_steps.commands.overrides import apply_overrides
from pipeline_steps.pairs.packed import COLOUR, SKETCH
from pipeline_steps.params import TrainParams, check_params, flatten, load_yaml
from pipeline_steps.train.schedule import set_learning_rate
from pipeline_steps.train.state import build_state
from pipeline_steps.train.trainer import update

REPOSITORY = Path(__file__).parents[3]
SIZE, WIDTH = 32, 4
SEED = 7


@pytest.fixture
def paper() -> TrainParams:
    overrides = flatten(load_yaml(REPOSITORY / "params/paper.yaml")) | {"download.path": "x.zip"}
    return check_params(apply_overrides(load_yaml(REPOSITORY / "params.yaml"), overrides)).train


class PlainUNet(nn.Module):
    """Section 6.1.1, with skips, at a size and width of its own: encoder C-…-C, decoder CD-…-C."""

    def __init__(self) -> None:
        super().__init__()
        widths = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH, 8 * WIDTH]  # 32 px down to 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (channels, width) in enumerate(itertools.pairwise([3, *widths])):
            inner = 0 < level < 4
            block = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 1, bias=False))
            if inner:
                block.append(nn.BatchNorm2d(width))
            self.down.append(block)
        for level in (4, 3, 2, 1):
            channels = widths[level] * (1 if level == 4 else 2)
            width = widths[level - 1]
            block = nn.Sequential(
                nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width)
            )
            if level >= 2:
                block.append(nn.Dropout(0.5))
            self.up.append(block)
        self.up.append(nn.Sequential(nn.ConvTranspose2d(2 * WIDTH, 3, 4, 2, 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.leaky_relu(x, 0.2))
            skips.append(x)
        x = self.up[0](functional.relu(skips.pop()))
        for block in self.up[1:]:
            x = block(functional.relu(torch.cat([skips.pop(), x], dim=1)))
        return x.tanh()


class PlainPatchGAN(nn.Sequential):
    """Section 6.1.2: C64-C128-C256-C512, no normalization in the first, 4×4, then one channel."""

    def __init__(self) -> None:
        w = WIDTH
        super().__init__(
            nn.Conv2d(6, w, 4, 2, 1),
            nn.LeakyReLU(0.2),
            *(nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2)),
            *(
                nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False),
                nn.BatchNorm2d(4 * w),
                nn.LeakyReLU(0.2),
            ),
            *(
                nn.Conv2d(4 * w, 8 * w, 4, 1, 1, bias=False),
                nn.BatchNorm2d(8 * w),
                nn.LeakyReLU(0.2),
            ),
            nn.Conv2d(8 * w, 1, 4, 1, 1),
        )


def plain_step(
    generator: nn.Module, discriminator: nn.Module, pairs: Tensor, adams: list[Adam]
) -> None:
    """Section 3.3: D's loss halved, G maximizes log D, plus 100·L1."""
    sketch, truth = pairs[:, SKETCH], pairs[:, COLOUR]
    d_adam, g_adam = adams
    torch.manual_seed(SEED)
    generated = generator(sketch)
    shown = sketch.expand(-1, 3, -1, -1)
    bce = functional.binary_cross_entropy_with_logits
    d_adam.zero_grad()
    real = discriminator(torch.cat([shown, truth], 1))
    fake = discriminator(torch.cat([shown, generated.detach()], 1))
    ((bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) / 2).backward()
    d_adam.step()
    g_adam.zero_grad()
    fake = discriminator(torch.cat([shown, generated], 1))
    (bce(fake, torch.ones_like(fake)) + 100 * (generated - truth).abs().mean()).backward()
    g_adam.step()


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """The weights of one network into another with the same layers in the same order."""
    values = list(source.state_dict().values())
    names = list(target.state_dict())
    assert [v.shape for v in values] == [v.shape for v in target.state_dict().values()]
    target.load_state_dict(dict(zip(names, values, strict=True)))


def test_steps_are_those_of_the_paper(paper: TrainParams) -> None:
    small = dataclasses.replace(paper, generator_width=WIDTH, discriminator_width=WIDTH)
    state = build_state(small, SIZE, torch.device("cpu"))
    set_learning_rate(state.generator_optimizer, small.generator_lr)
    set_learning_rate(state.discriminator_optimizer, small.discriminator_lr)
    generator, discriminator = PlainUNet(), PlainPatchGAN()
    for network in (generator, discriminator):  # in whose memory order dropout is drawn
        network.to(memory_format=torch.channels_last)
    copy_weights(state.generator, generator)
    copy_weights(state.discriminator, discriminator)
    adams = [
        Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (discriminator, generator)
    ]
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        pairs = torch.rand(1, 4, SIZE, SIZE, generator=random) * 2 - 1
        plain_step(generator, discriminator, pairs, adams)
        update(state, pairs, small, None, (SEED,))
    for ours, plain in ((state.generator, generator), (state.discriminator, discriminator)):
        for a, b in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


def test_what_is_not_in_a_step_is_the_papers(paper: TrainParams) -> None:
    assert (paper.generator_width, paper.discriminator_width, paper.batch_size) == (64, 64, 1)
    assert (paper.epochs, paper.lr_decay_fraction) == (200, 0.0)
    assert (paper.load_size, paper.horizontal_flip, paper.line_styles) == (286, True, 0.0)
    assert paper.precision == "float32"
    assert flatten(load_yaml(REPOSITORY / "params/paper.yaml"))["prepare.image_size"] == 256
