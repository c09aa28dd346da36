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
