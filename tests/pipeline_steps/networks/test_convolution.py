"""Small maps use a matrix product, large ones a convolution, with equal results."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_steps.networks import convolution
from pipeline_steps.networks.convolution import Convolution, TransposedConvolution, concatenate

SMALL = (2, 3, 8, 6)


def forward_and_gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, and gradients of the input and of each parameter for a fixed upstream gradient."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    y.backward(upstream)
    assert x.grad is not None
    gradients = [weight.grad for weight in layer.parameters() if weight.grad is not None]
    return [y.detach(), x.grad, *gradients]


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [SMALL, (1, 3, 2, 2), (5, 3, 4, 2)])
def test_the_matrix_product_equals_the_convolution(
    kind: type[nn.Module],
    bias: bool,
    shape: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = kind(3, 7, bias=bias).double()
    x = torch.randn(shape, dtype=torch.float64)
    multiplied = forward_and_gradients(layer, x)
    monkeypatch.setattr(convolution, "MAX_ROWS", 0)
    convolved = forward_and_gradients(layer, x)
    for found, expected in zip(multiplied, convolved, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_only_small_maps_in_training_are_multiplied(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplied = []
    for name in ("gather_patches", "add_patches"):
        original = getattr(convolution, name)

        def spy(x: Tensor, original: object = original) -> Tensor:
            multiplied.append(x.shape)
            return original(x)  # type: ignore[operator,no-any-return]

        monkeypatch.setattr(convolution, name, spy)
    layer = kind(3, 7, bias=False)
    layer(torch.randn(1, 3, 64, 64))
    layer.eval()(torch.randn(SMALL))
    assert not multiplied
    layer.train()(torch.randn(SMALL))
    assert multiplied


def test_bfloat16_overlaps_are_summed_in_float32() -> None:
    patches = torch.ones(1, 8, 8, 4, 4, 1, dtype=torch.bfloat16)
    patches[:, :, :, 0] = 2**-9  # lost when added to 1 if each sum were rounded
    exact = convolution.add_patches(patches.double())
    assert torch.equal(convolution.add_patches(patches), exact.bfloat16())


def test_weights_have_the_names_and_shapes_of_conv2d() -> None:
    layer, reference = Convolution(3, 7, bias=True), nn.Conv2d(3, 7, 4, 2, 1)
    transposed = nn.ConvTranspose2d(3, 7, 4, 2, 1)
    reference.load_state_dict(layer.state_dict())
    transposed.load_state_dict(TransposedConvolution(3, 7, bias=True).state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(layer(x), functional.conv2d(x, reference.weight, reference.bias, 2, 1))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_of_concatenated_maps_have_the_memory_layout_of_the_maps(
    layout: torch.memory_format,
) -> None:
    gradients: list[Tensor] = []
    maps = [
        torch.randn(2, channels, 8, 8).to(memory_format=layout).requires_grad_()
        for channels in (3, 5)
    ]
    joined = concatenate(*maps)
    assert torch.equal(joined, torch.cat(maps, 1))
    for part in maps:
        part.register_hook(gradients.append)
    (joined * torch.arange(8.0)[:, None, None]).sum().backward()
    assert [g.is_contiguous(memory_format=layout) for g in gradients] == [True, True]
    assert [g[0, :, 0, 0].tolist() for g in gradients] == [[0, 1, 2], [3, 4, 5, 6, 7]]
