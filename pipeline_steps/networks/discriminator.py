"""The PatchGAN discriminator of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3.2.2)."""

import torch
from torch import Tensor, nn

from pipeline_steps.networks.generator import MAX_WIDTH_FACTOR, initialize, normalization_layer


class Discriminator(nn.Module):
    """Classifies patches of pairs as real or generated: of 70×70 pixels with 3 layers."""

    def __init__(
        self,
        *,
        width: int = 64,
        num_layers: int = 3,
        normalization: str = "batch",
        sketch_channels: int = 3,
    ) -> None:
        super().__init__()
        self.sketch_channels = sketch_channels
        biased = normalization == "instance"
        widths = [width * min(2**level, MAX_WIDTH_FACTOR) for level in range(num_layers + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(sketch_channels + 3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for level in range(1, num_layers + 1):
            stride = 1 if level == num_layers else 2
            layers += [
                nn.Conv2d(
                    widths[level - 1], widths[level], 4, stride=stride, padding=1, bias=biased
                ),
                normalization_layer(normalization, widths[level]),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, sketch: Tensor, colour: Tensor) -> Tensor:
        """N×1×S×S sketches, N×3×S×S colours in −1..1 → logits N×1×P×P, one per patch, > 0: real."""
        sketch = sketch.expand(-1, self.sketch_channels, -1, -1)
        logits: Tensor = self.layers(torch.cat([sketch, colour], dim=1))
        return logits
