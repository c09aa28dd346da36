"""The U-Net generator of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3.2.1 and 6.1.1).

Shape legend: N pictures, S = image size in pixels, channels first, values in −1..1.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from colorizer.base.files import atomic_path
from pipeline_steps.base.errors import DataError
from pipeline_steps.networks.convolution import (
    Convolution,
    ResizeConvolution,
    TransposedConvolution,
    concatenate,
)
from pipeline_steps.networks.hint_head import HintHead

MAX_WIDTH_FACTOR = 8  # 64-128-256-512-512-… at width 64
NUM_DROPOUT_BLOCKS = 3
NUM_TRANSPOSED_BLOCKS = 2
"""Outermost up blocks whose convolution is always transposed: interpolation blurs lines."""
INIT_STD = 0.02  # all weights start from N(0, 0.02)
MIN_DARKEST_INK = 0.2
"""Of black: fainter ink is scaled as if it were this dark, so that grain on paper stays faint."""


@dataclass(frozen=True, kw_only=True)
class GeneratorArchitecture:
    """The arguments that rebuild a generator; stored with its weights."""

    image_size: int
    """S in pixels, a power of two: the U-Net halves it down to ``bottleneck_px``."""
    width: int = 64
    """Channels of the first layer."""
    normalization: str = "batch"
    darken_ink: bool = False
    """Whether each sketch's darkest ink is read as black: a pencil's lines like a pen's."""
    upsampling: str = "transposed"
    """Of the up blocks but the outermost ``NUM_TRANSPOSED_BLOCKS``."""
    bottleneck_px: int = 1
    """Side of the innermost map, a power of two. At 1 px, half of the weights are around it."""
    dropout: float = 0.5
    in_channels: int = 3
    """The grey sketch is read as RGB, as in the paper."""
    out_channels: int = 3
    hints: str = "none"
    """none, or points: colours at places, as a further input, which a head follows."""

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size.bit_count() != 1:
            raise ValueError(f"image_size: must be a power of two ≥ 32, got {self.image_size}")
        if self.width < 1:
            raise ValueError(f"width: must be ≥ 1, got {self.width}")
        if self.normalization not in ("batch", "instance"):
            raise ValueError(f"normalization: must be batch or instance, got {self.normalization}")
        if self.upsampling not in ("transposed", "bilinear"):
            raise ValueError(f"upsampling: must be transposed or bilinear, got {self.upsampling}")
        if (
            self.bottleneck_px.bit_count() != 1
            or not 1 <= self.bottleneck_px <= self.image_size // 8
        ):
            raise ValueError(
                "bottleneck_px: must be a power of two, at most an eighth of image_size"
                f" ({self.image_size}), got {self.bottleneck_px}"
            )
        if self.hints not in ("none", "points"):
            raise ValueError(f"hints: must be none or points, got {self.hints}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout: must be in 0..1, got {self.dropout}")

    @property
    def takes_hints(self) -> bool:
        """Whether hints are an input."""
        return self.hints != "none"

    @property
    def depth(self) -> int:
        """How often maps are halved."""
        return (self.image_size // self.bottleneck_px).bit_length() - 1

    @property
    def widths(self) -> list[int]:
        """Channels of each down block, from the outermost in."""
        return [self.width * min(2**level, MAX_WIDTH_FACTOR) for level in range(self.depth)]


class Generator(nn.Module):
    """Sketch → colour picture: encoder and decoder of equal depth with skip connections."""

    def __init__(self, architecture: GeneratorArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        depth, widths = architecture.depth, architecture.widths

        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            channels = architecture.in_channels if level == 0 else widths[level - 1]
            self.down.append(self._down_block(channels, width, level))
        self.up = nn.ModuleList()
        for level in reversed(range(depth)):
            channels = widths[level] if level == depth - 1 else 2 * widths[level]
            width = architecture.out_channels if level == 0 else widths[level - 1]
            self.up.append(self._up_block(channels, width, level))
        self.apply(initialize)
        self.hint_head = None
        if architecture.takes_hints:
            with torch.random.fork_rng(devices=()):  # the other weights are those without hints
                self.hint_head = HintHead()

    def _down_block(self, channels: int, width: int, level: int) -> nn.Sequential:
        # neither the first layer, which sees raw pixels, nor a 1×1 bottleneck, which has a single
        # value per channel, is normalized
        normalized = level > 0 and self.architecture.image_size >> (level + 1) > 1
        block = nn.Sequential()
        if level > 0:
            block.append(nn.LeakyReLU(0.2))
        biased = self.architecture.normalization == "instance"
        block.append(Convolution(channels, width, bias=biased))
        if normalized:
            block.append(normalization_layer(self.architecture.normalization, width))
        return block

    def _up_block(self, channels: int, width: int, level: int) -> nn.Sequential:
        outermost = level == 0
        biased = outermost or self.architecture.normalization == "instance"
        is_resized = self.architecture.upsampling == "bilinear" and level >= NUM_TRANSPOSED_BLOCKS
        convolution = ResizeConvolution if is_resized else TransposedConvolution
        block = nn.Sequential(nn.ReLU(), convolution(channels, width, bias=biased))
        if outermost:
            return block.append(nn.Tanh())
        block.append(normalization_layer(self.architecture.normalization, width))
        if self.architecture.depth - level <= NUM_DROPOUT_BLOCKS and self.architecture.dropout > 0:
            block.append(nn.Dropout(self.architecture.dropout))
        return block

    @property
    def noise_shapes(self) -> list[tuple[int, int, int]]:
        """Channels, height and width of the maps with dropout, from the innermost out."""
        architecture = self.architecture
        if not architecture.dropout:
            return []
        count = min(NUM_DROPOUT_BLOCKS, architecture.depth - 1)
        sides = [architecture.bottleneck_px * 2 << i for i in range(count)]
        return [(architecture.widths[-2 - i], side, side) for i, side in enumerate(sides)]

    def forward(self, sketch: Tensor, *noise: Tensor, hints: Tensor | None = None) -> Tensor:
        """Colour a batch: N×1×S×S float in −1..1 → N×3×S×S float in −1..1.

        ``hints``: N×4×S×S, colours in −1..1 times their mask, and the mask in 0..1; None: there are
        none. An architecture without hints doesn't look at them.
        ``noise``: dropout masks, N × each of ``noise_shapes``, drawn by the caller. They vary the
        colouring, as the paper's dropout does (section 2.1), in evaluation mode too.
        """
        read = self._read(sketch)
        x = read.expand(-1, self.architecture.in_channels, -1, -1)
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        masks = iter(noise)
        x = self._masked(self.up[0](skips.pop()), masks)
        for up in self.up[1:]:
            x = self._masked(up(concatenate(skips.pop(), x)), masks)
        assert isinstance(x, Tensor)
        return x if hints is None else self.follow(x, sketch, hints)

    def follow(self, picture: Tensor, sketch: Tensor, hints: Tensor) -> Tensor:
        """Change N×3×S×S coloured pictures of N×1×S×S sketches by N×4×S×S hints."""
        if self.hint_head is None:
            return picture
        changed: Tensor = self.hint_head(picture, self._read(sketch), hints)
        return changed

    def _read(self, sketch: Tensor) -> Tensor:
        return darken(sketch) if self.architecture.darken_ink else sketch

    @staticmethod
    def _masked(x: Tensor, masks: Iterator[Tensor]) -> Tensor:
        mask = next(masks, None)
        return x if mask is None else x * mask


def darken(sketch: Tensor) -> Tensor:
    """Scale the ink of N×1×S×S sketches in −1..1 so that each one's darkest is black."""
    ink = 1 - sketch
    darkest = ink.amax(dim=(1, 2, 3), keepdim=True)
    return 1 - ink * (2 / darkest.clamp_min(2 * MIN_DARKEST_INK))


def normalization_layer(normalization: str, channels: int) -> nn.Module:
    """Batch or instance normalization, as pix2pix sets them up."""
    if normalization == "instance":
        return nn.InstanceNorm2d(channels)
    return nn.BatchNorm2d(channels)


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), scales from N(1, 0.02); biases are 0 (paper, section 6.2)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INIT_STD)
        nn.init.zeros_(module.bias)


def save_generator(
    path: Path, architecture: GeneratorArchitecture, weights: dict[str, Tensor]
) -> None:
    """Write weights and architecture to one safetensors file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    # one key: safetensors writes several in random order, and equal weights must give equal bytes
    metadata = {"architecture": json.dumps(dataclasses.asdict(architecture), sort_keys=True)}
    data = save(tensors, metadata=metadata)
    with atomic_path(path) as partial:
        partial.write_bytes(data)  # save_file leaves a temporary file of its own when killed


def load_generator(path: Path) -> Generator:
    """Rebuild a generator, on CPU and in evaluation mode.

    Raises :class:`DataError` if the file is missing, damaged or not a generator's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        architecture = GeneratorArchitecture(**json.loads(metadata["architecture"]))
        generator = Generator(architecture)
        generator.load_state_dict(weights)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro train` makes it") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a generator ({reason}); run `dvc repro -f train`") from None
    return generator.eval()
