"""FID, for whoever has the weights of torchvision's Inception v3.

Heusel et al. 2017, arXiv:1706.08500, equation 6. Published values use another port of the network
and mostly thousands of pictures: FID falls with their number, so compare equal numbers only.

Shape legend: N pictures, S pixels square, D features.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_steps.base.errors import DataError
from pipeline_steps.scores.tensor_file import read_tensors

INPUT_PX = 299
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Inception(nn.Module):
    """torchvision's Inception v3 up to its last pooling, with the sha256 of its weights' file."""

    def __init__(self, network: nn.Module, sha256: str) -> None:
        super().__init__()
        self.network = network
        self.sha256 = sha256

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Tensor:
        """N×3×S×S float in −1..1 → N×2048 float64 on CPU."""
        mean, std = (
            torch.tensor(values, device=pictures.device).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        size = (INPUT_PX, INPUT_PX)
        scaled = functional.interpolate(pictures.float(), size, mode="bilinear", antialias=True)
        features: Tensor = self.network(((scaled.clamp(-1, 1) + 1) / 2 - mean) / std)
        return features.double().cpu()


def load_inception(path: Path) -> Inception:
    """Read a state dict of torchvision's ``inception_v3``, in evaluation mode.

    Raises :class:`DataError` if the file is missing or holds anything else.
    """
    from torchvision.models import inception_v3

    try:
        data = path.read_bytes()
        network = inception_v3(weights=None, init_weights=False, aux_logits=True)
        network.load_state_dict(read_tensors(data))
    except OSError as error:
        raise DataError(
            f"scores.inception_weights: {path} can't be read ({error.strerror})"
        ) from None
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"scores.inception_weights: {path} doesn't hold torchvision's Inception v3 ({reason})"
        ) from None
    network.fc = nn.Identity()
    return Inception(network.eval(), hashlib.sha256(data).hexdigest())


def fid(generated: Tensor, truth: Tensor) -> float:
    """The Fréchet distance of two normal distributions, fitted to N×D and M×D float64 features.

    Raises :class:`ValueError` for fewer than two of either.
    """
    if min(len(generated), len(truth)) < 2:
        raise ValueError(f"need two pictures of each, got {len(generated)} and {len(truth)}")
    difference = generated.mean(dim=0) - truth.mean(dim=0)
    first, second = torch.cov(generated.T), torch.cov(truth.T)
    # the trace of the root of a product of covariances is the sum of its eigenvalues' roots
    roots = torch.linalg.eigvals(first @ second).real.clamp_min(0).sqrt().sum()
    return float(difference.square().sum() + first.trace() + second.trace() - 2 * roots)
