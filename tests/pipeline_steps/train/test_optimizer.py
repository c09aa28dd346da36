import torch
from torch import nn

from pipeline_steps.train.optimizer import MemoryOrderAdam, in_memory_order


def network() -> nn.Sequential:
    torch.manual_seed(0)
    # no bias before normalization: its gradient is 0, and Adam would amplify rounding errors
    first = nn.Conv2d(3, 8, 4, bias=False)
    layers = nn.Sequential(first, nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 2, 4))
    layers.to(memory_format=torch.channels_last)
    return layers


def test_the_steps_equal_those_of_adam() -> None:
    fused, plain = network(), network()
    adams = (
        MemoryOrderAdam(fused.parameters(), lr=0.01, betas=(0.5, 0.999)),
        torch.optim.Adam(plain.parameters(), lr=0.01, betas=(0.5, 0.999)),
    )
    pictures = torch.rand(2, 3, 8, 8)
    for layers, adam in zip((fused, plain), adams, strict=True):
        for _ in range(3):
            adam.zero_grad()
            layers(pictures).square().mean().backward()
            adam.step()
    for weight, expected in zip(fused.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(weight, expected, atol=1e-5)
    assert not torch.equal(next(fused.parameters()), next(network().parameters()))


def test_weights_are_not_copied() -> None:
    layers = network()
    adam = MemoryOrderAdam(layers.parameters(), lr=0.01, betas=(0.5, 0.999))
    for weight, view in zip(layers.parameters(), adam.param_groups[0]["params"], strict=True):
        assert view.is_contiguous()
        assert view.data_ptr() == weight.data_ptr()


def test_zero_grad_releases_the_gradients() -> None:
    layers = network()
    adam = MemoryOrderAdam(layers.parameters(), lr=0.01, betas=(0.5, 0.999))
    layers(torch.rand(1, 3, 8, 8)).sum().backward()
    adam.zero_grad()
    assert all(weight.grad is None for weight in layers.parameters())


def test_contiguous_weights_keep_their_memory_layout() -> None:
    assert in_memory_order(torch.rand(4, 3, 2, 2)).shape == (4, 3, 2, 2)
    assert in_memory_order(torch.rand(5)).shape == (5,)
