"""When ``torch.compile`` pays for its warm-up, and whether this machine can do it at all."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

MIN_IMAGES = {"cuda": 15_000, "cpu": 4_000}
"""Images of a run from which compiling pays: the warm-up over what an image gains, by estimate."""


def choose_compile(wanted: bool | str, device: torch.device, run_images: int) -> bool:
    """``auto`` compiles long runs where matrix work is so fast that the rest weighs.

    That is CUDA and CPUs with AMX; with AVX512 alone nine tenths of a step are convolutions, which
    compiling leaves as they are, and it was measured to gain nothing. The choice hangs on the whole
    run's length, so that a resumed run makes the same. A machine that can't compile goes on
    without, with a warning.
    """
    if wanted == "auto":
        fast = device.type == "cuda" or bool(torch.cpu.get_capabilities().get("amx_bf16"))
        wanted = fast and run_images >= MIN_IMAGES[device.type]
    return bool(wanted) and can_compile(device)


def switch_off_pickles() -> None:
    """Have torch keep compiled code, but no graphs: those it pickles, and would unpickle.

    A second start takes longer by it, a first one doesn't.
    """
    import torch._dynamo.config
    import torch._functorch.config
    import torch._inductor.config

    torch._inductor.config.fx_graph_cache = False
    torch._functorch.config.enable_autograd_cache = False
    torch._dynamo.config.automatic_dynamic_local_pgo = False


def can_compile(device: torch.device) -> bool:
    """Try it on a sum: False, with one warning, where that fails."""
    switch_off_pickles()
    try:
        torch.compile(lambda x: x.sin() + 1.0)(torch.ones(8, device=device))
    except Exception as error:  # whatever a compiler's absence shows as, in any version
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"train.compile: this machine can't ({reason}); not compiled", stacklevel=2)
        return False
    return True


def compile_network(network: nn.Module) -> Callable[..., Any]:
    """A network's forward and backward pass, compiled at first use for each shape of input."""
    compiled: Callable[..., Any] = torch.compile(network, dynamic=False)
    return compiled
