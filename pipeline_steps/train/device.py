"""Which device and precision a training uses, and how it is made deterministic on them."""

import os

import torch

from pipeline_steps.base.errors import TrainingError


def choose_device(wanted: str) -> torch.device:
    """Device for ``auto``, ``cpu`` or ``cuda``; ``auto`` is CUDA where there is a device.

    Raises :class:`TrainingError` for ``cuda`` without a CUDA device.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "train.device: cuda was asked for, but torch finds no CUDA device; set auto or cpu"
        )
    use_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def choose_autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Dtype of autocast for ``auto``, ``float32`` or ``bfloat16``; None is float32 throughout.

    ``auto`` is bfloat16 where the device multiplies it in hardware.
    """
    if precision == "bfloat16" or (precision == "auto" and has_native_bfloat16(device)):
        return torch.bfloat16
    return None


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: CUDA from Ampere on, AVX512-BF16, AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))  # a T4 emulates it
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def make_deterministic() -> None:
    """Equal seeds give equal bytes on the same hardware and software."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
