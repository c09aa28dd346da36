"""The peer: junyanz/pytorch-CycleGAN-and-pix2pix, imported from a checkout.

Its top-level packages have common names (``models``, ``options``, ``util``, ``data``), so import it
only in a process that needs no others of these names.
"""

import sys
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def build_peer(
    checkout: Path, device: torch.device, *, dropout: bool = True, image_size: int = 256
) -> Any:
    """Build its ``Pix2PixModel`` with the defaults of ``train.py --model pix2pix``.

    256 px, unet_256 (its unet_128 for 128 px), 70×70 PatchGAN, batch normalization, λ 100, Adam at
    0.0002, three input channels. Exits if the folder isn't a checkout.
    """
    if not (checkout / "models" / "pix2pix_model.py").exists():
        raise SystemExit(f"{checkout}: not a checkout of junyanz/pytorch-CycleGAN-and-pix2pix")
    sys.path.insert(0, str(checkout))
    arguments, sys.argv = sys.argv, ["train.py", "--dataroot", "unused", "--model", "pix2pix"]
    sys.argv += [] if dropout else ["--no_dropout"]
    sys.argv += ["--netG", f"unet_{image_size}"]
    try:
        with redirect_stdout(StringIO()):  # it prints both networks
            models, train_options = map(import_module, ("models", "options.train_options"))
            options = train_options.TrainOptions().gather_options()
            options.isTrain, options.device = True, device
            options.gpu_ids = [device.index or 0] if device.type == "cuda" else []  # older versions
            model = models.create_model(options)
            model.setup(options)
    finally:
        sys.argv = arguments
        sys.path.remove(str(checkout))
    return model


def peer_step(model: Any, pairs: Tensor) -> None:
    """Do one training step of the peer on N×4×S×S pairs (RGB, then sketch) in −1..1."""
    sketch = pairs[:, 3:].expand(-1, 3, -1, -1).contiguous()
    model.set_input({"A": sketch, "B": pairs[:, :3].contiguous(), "A_paths": [], "B_paths": []})
    model.optimize_parameters()


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside the peer's multi-GPU wrapper, if it has one."""
    return getattr(network, "module", network)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters and buffers in order; exits if any shapes differ."""
    values, targets = list(source.state_dict().values()), list(target.state_dict().values())
    if [tensor.shape for tensor in values] != [tensor.shape for tensor in targets]:
        raise SystemExit("the networks differ in shape and can't be compared")
    for tensor, value in zip(targets, values, strict=True):
        tensor.copy_(value)


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
