"""Adam that walks a network's weights in the order in which they lie in memory."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class MemoryOrderAdam(torch.optim.Adam):
    """Fused Adam over views of the weights: same numbers, no copies.

    Convolutions want channels-last weights, yet the fused kernel copies all that is not contiguous,
    and a step moves 54 million weights four times over. A channels-last weight seen as O×H×W×I is
    contiguous. State and its shapes are those of the views.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float]
    ) -> None:
        self.shared = list(parameters)
        views = [nn.Parameter(in_memory_order(weight.detach())) for weight in self.shared]
        super().__init__(views, lr=lr, betas=betas, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the network."""
        for weight in self.shared:
            weight.grad = None

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the network's weights in place from its gradients."""
        views = self.param_groups[0]["params"]
        for weight, view in zip(self.shared, views, strict=True):
            view.grad = None if weight.grad is None else in_memory_order(weight.grad)
        super().step(closure)
        for view in views:
            view.grad = None


def in_memory_order(tensor: Tensor) -> Tensor:
    """Channels-last O×I×H×W as O×H×W×I, a contiguous view; anything else as it is."""
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor
