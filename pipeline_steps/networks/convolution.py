"""The convolutions that halve and double maps: pix2pix's 4×4 of stride 2, faster on a CPU for small
maps, and resize-convolution.

Shape legend: N pictures, C channels, h and w = size of the smaller map in pixels.

Near its bottleneck the U-Net has maps of a few pixels and millions of weights. A convolution there
costs as much as reading its weights, and the CPU library's convolutions read and reorder them
several times; so small maps are convolved by a matrix product, which reads them once. Larger maps
and other devices use torch's convolutions. Both compute the same sums from the same weights, under
the same names.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

KERNEL, STRIDE, PADDING = 4, 2, 1
MAX_ROWS = 256
"""N·h·w up to which the product is faster."""


class Convolution(nn.Conv2d):
    """N×C×2h×2w → N×C'×h×w."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; on a CPU in training, small maps by a matrix product."""
        if not self.training or not is_small(x, rows=x[:, 0].numel() // STRIDE**2):
            return super().forward(x)
        patches: Tensor = GatherPatches.apply(x.permute(0, 2, 3, 1))
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return functional.linear(patches.flatten(3), weight, self.bias).permute(0, 3, 1, 2)


class TransposedConvolution(nn.ConvTranspose2d):
    """N×C×h×w → N×C'×2h×2w."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve; on a CPU in training, small maps by a matrix product."""
        if not self.training or not is_small(x, rows=x[:, 0].numel()):
            return super().forward(x, output_size)
        weight = self.weight.permute(0, 2, 3, 1)
        patches = x.permute(0, 2, 3, 1) @ weight.flatten(1)
        patches = patches.unflatten(3, weight.shape[1:])
        picture: Tensor = AddPatches.apply(patches)
        if self.bias is not None:
            picture = picture + self.bias
        return picture.permute(0, 3, 1, 2)


class ResizeConvolution(nn.Conv2d):
    """N×C×h×w → N×C'×2h×2w: 3×3, then bilinear interpolation (Odena et al. 2016,
    doi:10.23915/distill.00003).

    Unlike a transposed convolution it can't leave a checkerboard, and it has fewer weights. Their
    order is exchanged, since the convolution is cheaper on the smaller map.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and enlarge."""
        return functional.interpolate(super().forward(x), scale_factor=2, mode="bilinear")


def is_small(x: Tensor, rows: int) -> bool:
    """Whether a batch of maps with ``rows`` pixels in all is convolved by a matrix product."""
    return x.device.type == "cpu" and rows <= MAX_ROWS


class GatherPatches(Function):
    """N×2h×2w×C → N×h×w×4×4×C: what each output pixel sees, 0 beyond the border."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor) -> Tensor:
        """Gather."""
        return gather_patches(picture)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Sum the gradients of a pixel over the patches that hold it."""
        return add_patches(gradient)


class AddPatches(Function):
    """N×h×w×4×4×C → N×2h×2w×C: overlapping patches summed; the adjoint of gathering."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor) -> Tensor:
        """Add."""
        return add_patches(patches)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Gather: the adjoint of summing."""
        return gather_patches(gradient)


def gather_patches(picture: Tensor) -> Tensor:
    """What :class:`GatherPatches` does, on plain tensors."""
    padded = functional.pad(picture, (0, 0, PADDING, PADDING, PADDING, PADDING))
    patches = padded.unfold(1, KERNEL, STRIDE).unfold(2, KERNEL, STRIDE)
    return patches.permute(0, 1, 2, 4, 5, 3).contiguous()


def add_patches(patches: Tensor) -> Tensor:
    """What :class:`AddPatches` does, on plain tensors; bfloat16 is summed in float32."""
    n, height, width, _, _, channels = patches.shape
    shape = (n, STRIDE * (height + PADDING), STRIDE * (width + PADDING), channels)
    padded = patches.new_zeros(shape, dtype=torch.promote_types(patches.dtype, torch.float32))
    for row in range(KERNEL):
        for column in range(KERNEL):
            rows = slice(row, row + STRIDE * height, STRIDE)
            columns = slice(column, column + STRIDE * width, STRIDE)
            padded[:, rows, columns] += patches[:, :, :, row, column]
    picture = padded[:, PADDING:-PADDING, PADDING:-PADDING]
    return picture.to(patches.dtype, memory_format=torch.contiguous_format)


def concatenate(first: Tensor, second: Tensor) -> Tensor:
    """Concatenate N×?×H×W maps in channels; gradients are contiguous in the maps' own layout.

    Those of ``torch.cat`` are strided views, on which batch normalization's backward pass on a CPU
    is forty times slower.
    """
    if not torch.is_grad_enabled():
        return torch.cat([first, second], dim=1)
    joined: Tensor = Concatenation.apply(first, second)
    return joined


class Concatenation(Function):
    """See :func:`concatenate`."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        """Concatenate; remember sizes and layouts for the backward pass."""
        ctx.sizes = [part.shape[1] for part in maps]
        ctx.formats = [memory_format_of(part) for part in maps]
        return torch.cat(maps, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Split into copies.

        The layout matters: given another than its input's, torch 2.15's instance normalization of a
        single picture computes a wrong gradient.
        """
        parts = zip(gradient.split(ctx.sizes, dim=1), ctx.formats, strict=True)
        return tuple(part.contiguous(memory_format=layout) for part, layout in parts)


def memory_format_of(x: Tensor) -> torch.memory_format:
    """The memory format of a map: channels last or contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
