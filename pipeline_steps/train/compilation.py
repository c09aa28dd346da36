"""Whether ``torch.compile`` pays for its warm-up, and whether this machine can compile."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

MIN_IMAGES = 15_000
"""Images of a run on a GPU from which compiling pays: the warm-up over the gain of an image."""


def choose_compile(wanted: bool | str, device: torch.device, run_images: int) -> bool:
    """Whether to compile; ``auto`` compiles long runs on a GPU.

    On CPUs the first step takes minutes, and later ones were at most as fast at the default size,
    with matrix units (AMX) and without. The choice depends on the whole run's length, so that a
    resumed run makes the same. Warns, and is False, where the machine can't compile.
    """
    if wanted == "auto":
        wanted = device.type == "cuda" and run_images >= MIN_IMAGES
    return bool(wanted) and can_compile(device)


def switch_off_pickles() -> None:
    """Have torch cache compiled code, but no graphs: it would unpickle those.

    This makes a second start slower, not the first.
    """
    import torch._dynamo.config
    import torch._functorch.config
    import torch._inductor.config

    torch._inductor.config.fx_graph_cache = False
    torch._functorch.config.enable_autograd_cache = False
    torch._dynamo.config.automatic_dynamic_local_pgo = False


def silence_missing_cuda() -> None:
    """Drop torch's message that a CUDA toolkit is installed but no GPU found.

    torch logs it when it compiles for the first time, also for a CPU.
    """
    logging.getLogger("torch.utils.cpp_extension").addFilter(
        lambda record: "No CUDA runtime is found" not in record.getMessage()
    )


def can_compile(device: torch.device) -> bool:
    """Compile a sum; False, with one warning, where that fails."""
    switch_off_pickles()
    silence_missing_cuda()
    try:
        torch.compile(lambda x: x.sin() + 1.0)(torch.ones(8, device=device))
    except Exception as error:  # which one a missing compiler raises depends on torch's version
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"train.compile: this machine can't ({reason}); not compiled", stacklevel=2)
        return False
    return True


def compile_network(network: nn.Module) -> Callable[..., Any]:
    """A network's forward and backward pass, compiled at first use for each shape of input."""
    compiled: Callable[..., Any] = torch.compile(network, dynamic=False)
    return compiled
