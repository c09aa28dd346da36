import types

import pytest
import torch

from pipeline_steps.base.errors import TrainingError
from pipeline_steps.train.device import choose_autocast_dtype, choose_device


def test_cuda_that_is_requested_must_be_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(TrainingError, match="finds no CUDA device"):
        choose_device("cuda")


def test_precision_is_as_requested() -> None:
    cpu = torch.device("cpu")
    assert choose_autocast_dtype("float32", cpu) is None
    assert choose_autocast_dtype("bfloat16", cpu) is torch.bfloat16


@pytest.mark.parametrize(("major", "dtype"), [(7, None), (8, torch.bfloat16)])
def test_a_gpu_that_only_emulates_bfloat16_trains_in_float32(
    monkeypatch: pytest.MonkeyPatch, major: int, dtype: torch.dtype | None
) -> None:
    """A T4 has compute capability 7.5."""
    properties = types.SimpleNamespace(major=major)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)
    assert choose_autocast_dtype("auto", torch.device("cuda")) is dtype
