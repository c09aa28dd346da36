import logging
from typing import Any

import pytest
import torch

from pipeline_steps.train import compilation
from pipeline_steps.train.compilation import MIN_IMAGES, choose_compile, silence_missing_cuda

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "can_compile", lambda _: True)


@pytest.mark.usefixtures("compiler")
def test_long_runs_on_a_gpu_are_compiled_and_others_are_not() -> None:
    assert choose_compile("auto", GPU, MIN_IMAGES)
    assert not choose_compile("auto", GPU, MIN_IMAGES - 1)
    assert not choose_compile("auto", CPU, 10**9)


@pytest.mark.usefixtures("compiler")
def test_compilation_is_as_requested() -> None:
    assert choose_compile(True, CPU, 1)
    assert not choose_compile(False, CPU, 10**9)


def test_a_machine_without_a_compiler_warns_once_and_does_not_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compile_nothing(_: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", compile_nothing)
    with pytest.warns(UserWarning, match=r"train\.compile.*No working C\+\+ compiler found\)"):
        assert not choose_compile(True, CPU, 1)


def test_only_torchs_message_about_a_missing_gpu_is_suppressed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silence_missing_cuda()
    logger = logging.getLogger("torch.utils.cpp_extension")
    logger.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr/local/cuda")
    logger.warning("another")
    assert [record.getMessage() for record in caplog.records] == ["another"]
