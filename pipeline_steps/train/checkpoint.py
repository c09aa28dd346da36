"""Checkpoints: safetensors only (nothing is unpickled), named by their hash, the last two kept.

A checkpoint is one file ``checkpoint-<seen images>-<sha256, 16 digits>.safetensors``. Its single
metadata key ``checkpoint`` is JSON: the format's version and the trainer's facts.
"""

import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from colorizer.base.files import atomic_path
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import TrainingError

FORMAT_VERSION = 1
NUM_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{12})-([0-9a-f]{16})\.safetensors")


class Checkpoint(NamedTuple):
    """A training's tensors and facts."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    """JSON values: counters, history, fingerprint."""


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder by their names, the newest first; contents are not checked."""
    return sorted((path for path in folder.glob("*") if _NAME.fullmatch(path.name)), reverse=True)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, seen_images: int) -> Path:
    """Write a checkpoint atomically, then drop all but the last two.

    Raises :class:`DiskSpaceError`, before writing, if it doesn't fit on the disk.
    """
    facts = {"version": FORMAT_VERSION, **checkpoint.facts}
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()
    }
    data = save(tensors, metadata={"checkpoint": json.dumps(facts)})
    digest = hashlib.sha256(data).hexdigest()[:16]
    path = folder / f"checkpoint-{seen_images:012d}-{digest}.safetensors"
    require_disk_space(folder, len(data), "a checkpoint")
    with atomic_path(path) as partial:
        partial.write_bytes(data)
    for old in list_checkpoints(folder)[NUM_KEPT:]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest valid checkpoint; None if there is none.

    A damaged one is skipped with a warning that names it. Raises :class:`TrainingError` for one of
    a newer format.
    """
    for path in list_checkpoints(folder):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest()[:16] != _digest_in(path):
            warnings.warn(f"{path}: damaged checkpoint, skipped", stacklevel=2)
            continue
        try:
            facts = json.loads(_metadata(data)["checkpoint"])
            version = int(facts["version"])
            tensors = load(data)
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"{path}: unreadable checkpoint ({reason}), skipped", stacklevel=2)
            continue
        if version > FORMAT_VERSION:
            raise TrainingError(
                f"{path}: written by a newer version of this code (format {version}, known"
                f" {FORMAT_VERSION}); update the code, or delete the file to train anew"
            )
        return Checkpoint(tensors, facts)
    return None


def optimizer_tensors(optimizer: torch.optim.Optimizer, name: str) -> dict[str, Tensor]:
    """Flatten an optimizer's state to ``{"<name>.<parameter index>.<slot>": tensor}``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}.{index}.{slot}": torch.as_tensor(value)
        for index, slots in state.items()
        for slot, value in slots.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, name: str, tensors: dict[str, Tensor]
) -> None:
    """Inverse of :func:`optimizer_tensors`; learning rates stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors_under(tensors, name).items():
        index, slot = key.split(".")
        state.setdefault(int(index), {})[slot] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if value.shape == parameter.shape:
                # fused Adam runs over memory: moments need their parameter's layout
                slots[slot] = torch.empty_like(parameter).copy_(value)


def tensors_under(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors named ``<name>.…``, without that prefix."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def _digest_in(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    return match[2] if match else ""


def _metadata(data: bytes) -> dict[str, str]:
    header_bytes = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + header_bytes])["__metadata__"]
    return metadata
