"""The losses of pix2pix and its usual alternatives; logits of any shape in, a scalar out."""

import torch
from torch import Tensor
from torch.nn import functional


def discriminator_loss(kind: str, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's loss on real and generated pairs, halved as in the paper, section 3.3."""
    if kind == "hinge":  # Lim & Ye 2017, arXiv:1705.02894
        real_loss = functional.relu(1.0 - real_logits).mean()
        fake_loss = functional.relu(1.0 + fake_logits).mean()
    else:
        real_loss = _distance(kind, real_logits, 1.0)
        fake_loss = _distance(kind, fake_logits, 0.0)
    return 0.5 * (real_loss + fake_loss)


def adversarial_loss(kind: str, fake_logits: Tensor) -> Tensor:
    """The generator's adversarial loss, in its non-saturating form."""
    if kind == "hinge":
        return -fake_logits.mean()
    return _distance(kind, fake_logits, 1.0)


def l1_loss(generated: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of pixels, in −1..1 units (paper, equation 3)."""
    return (generated - truth).abs().mean()


def _distance(kind: str, logits: Tensor, label: float) -> Tensor:
    labels = torch.full_like(logits, label)
    if kind == "bce":
        return functional.binary_cross_entropy_with_logits(logits, labels)
    if kind == "lsgan":  # Mao et al. 2017, arXiv:1611.04076
        return functional.mse_loss(logits, labels)
    raise ValueError(f"gan_loss: must be bce, lsgan or hinge, got {kind}")
