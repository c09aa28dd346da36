"""ST-LPIPS: a learned perceptual distance that tolerates small shifts.

Ghildyal & Liu 2022, arXiv:2207.13686: AlexNet or VGG16 with blurred down-sampling, trained from
scratch on people's judgements of similarity (BAPPS, the set that LPIPS learned from). It isn't
LPIPS, and the values of the two can't be compared.

The weights lie in the wheel of ``stlpips-pytorch``. It is never imported, since it needs packages
that it doesn't declare: its files are read, by their sha256, and nothing but tensors is unpickled.

Shape legend: N pictures, S pixels square, C channels of a map, h×w its size.
"""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_steps.base.errors import DataError
from pipeline_steps.scores.tensor_file import read_tensors

Trunk = Literal["alex", "vgg"]
PACKAGE, VERSION = "stlpips-pytorch", "0.0.2"
INSTALL = f"install it with `pip install --no-deps {PACKAGE}=={VERSION}`"
GO_WITHOUT = "or set scores.st_lpips to false to go without"
SMALLEST_NORM = 1e-10


class WeightFile(NamedTuple):
    """A file in the package's wheel."""

    path: str
    sha256: str


WEIGHT_FILES: dict[Trunk, WeightFile] = {
    "alex": WeightFile(
        "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
        "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    ),
    "vgg": WeightFile(
        "stlpips_pytorch/weights/vST0.0/vgg_shift_tolerant.pth",
        "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
    ),
}


class BlurredSubsampling(nn.Module):
    """N×C×h×w → N×C×(h/2+1)×(w/2+1), after a 3×3 binomial filter (Zhang 2019, arXiv:1904.11486)."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.zeros(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Filter and take every second pixel."""
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.filt.to(x.dtype), stride=2, groups=x.shape[1])


class PerceptualNetwork(nn.Module):
    """A trunk in five slices, and for each the weights of its channels in the distance."""

    def __init__(self, slices: list[list[nn.Module]]) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, 3, 1, 1))
        self.slices = nn.ModuleList(nn.Sequential(*layers) for layers in slices)
        widths = [
            [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)][-1]
            for layers in slices
        ]
        self.heads = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in widths)
        self.requires_grad_(False)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """N×3×S×S float in −1..1 → what each slice makes of them, five N×C×h×w."""
        x = (pictures - self.shift) / self.scale
        found = []
        for part in self.slices:
            x = part(x)
            found.append(x)
        return found

    def compare(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """The maps of N pictures and of N others → N distances."""
        distance = torch.zeros(len(first[0]), device=first[0].device)
        for one, other, head in zip(first, second, self.heads, strict=True):
            difference = (unit_length(one) - unit_length(other)).square()
            distance = distance + functional.conv2d(difference, head).mean(dim=(1, 2, 3))
        return distance

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two N×3×S×S float in −1..1 → N distances, from 0 for equal pictures."""
        return self.compare(self.maps(first), self.maps(second))


def unit_length(maps: Tensor) -> Tensor:
    """N×C×h×w scaled to a length of 1 at each pixel, in float32."""
    maps = maps.float()
    squares = maps.square().sum(dim=1, keepdim=True)
    return maps / ((squares + SMALLEST_NORM**2).sqrt() + SMALLEST_NORM)


@cache
@torch.inference_mode(False)  # a caller in that mode would leave a network without gradients
def load_network(trunk: Trunk = "alex") -> PerceptualNetwork:
    """The network with its published weights, on CPU, in evaluation mode.

    Raises :class:`DataError` if the weights aren't installed, or aren't the published ones.
    """
    tensors = read_weights(trunk)
    network = PerceptualNetwork(alex_slices() if trunk == "alex" else vgg_slices())
    renamed = {"shift": tensors["scaling_layer.shift"], "scale": tensors["scaling_layer.scale"]}
    layer = 0
    for number, part in enumerate(network.slices):
        renamed[f"heads.{number}"] = tensors[f"lin{number}.model.1.weight"]
        for index in range(len(cast(nn.Sequential, part))):
            prefix = f"net.slice{number + 1}.{layer}."
            renamed |= {
                f"slices.{number}.{index}.{name.removeprefix(prefix)}": tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            layer += 1
    network.load_state_dict(renamed)
    return network.eval()


def find_weights(trunk: Trunk) -> Path:
    """Where the installed package has a trunk's weights; they may be damaged.

    Raises :class:`DataError` if it isn't installed.
    """
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(WEIGHT_FILES[trunk].path)))
    except metadata.PackageNotFoundError:
        raise DataError(
            f"ST-LPIPS: the package {PACKAGE}, which holds its weights, isn't installed; {INSTALL},"
            f" {GO_WITHOUT}"
        ) from None
    return path


def read_weights(trunk: Trunk) -> dict[str, Tensor]:
    """The published tensors by name. Raises :class:`DataError` if they are missing or others."""
    path = find_weights(trunk)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"ST-LPIPS: {path} can't be read ({error.strerror}); {INSTALL}, {GO_WITHOUT}"
        ) from None
    if hashlib.sha256(data).hexdigest() != WEIGHT_FILES[trunk].sha256:
        raise DataError(
            f"ST-LPIPS: {path} is damaged, or of another version (its sha256 isn't that of"
            f" {VERSION}); {INSTALL}, {GO_WITHOUT}"
        )
    return read_tensors(data)


def alex_slices() -> list[list[nn.Module]]:
    """AlexNet's convolutions, the first of stride 1, each down-sampling blurred."""
    return [
        [nn.Conv2d(3, 64, 11, padding=2), BlurredSubsampling(64), nn.ReLU()],
        [*max_pooling(3, 64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()],
        [*max_pooling(3, 192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()],
    ]


def vgg_slices() -> list[list[nn.Module]]:
    """VGG16's convolutions, each down-sampling blurred."""
    slices: list[list[nn.Module]] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers = max_pooling(2, channels) if slices else []
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        slices.append(layers)
    return slices


def max_pooling(window: int, channels: int) -> list[nn.Module]:
    """Max pooling of stride 1, then blurred down-sampling by 2."""
    return [nn.MaxPool2d(window, 1), BlurredSubsampling(channels)]
