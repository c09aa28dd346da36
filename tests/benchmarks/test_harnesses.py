from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from benchmarks.colouring import TorchSession
from benchmarks.inference import open_session, store_as
from benchmarks.large_batches import scale
from benchmarks.quality import make_plain
from colorizer.model.folder import INPUT_NAME, ONNX_FILE, OUTPUT_NAME, ModelFolder
from colorizer.model.session import ModelSession
from pipeline_steps.export.onnx_export import export_onnx
from pipeline_steps.networks import convolution
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.params import Params
from pipeline_steps.train import state
from pipeline_steps.train.optimizer import MemoryOrderAdam


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(GeneratorArchitecture(image_size=32, width=16)).eval()


@pytest.fixture(scope="module")
def exported(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generator as ONNX."""
    folder = tmp_path_factory.mktemp("exported")
    export_onnx(generator, folder / ONNX_FILE)
    return folder


@pytest.mark.parametrize(("power", "factor"), [(0.0, 1), (0.5, 2), (1.0, 4)])
def test_learning_rates_scale_with_a_power_of_the_batch_size(
    params: Params, power: float, factor: int
) -> None:
    before = params.train
    scaled = scale(before, 4 * before.batch_size, power)
    assert scaled.batch_size == 4 * before.batch_size
    assert scaled.generator_lr == pytest.approx(factor * before.generator_lr)
    assert scaled.discriminator_lr == pytest.approx(factor * before.discriminator_lr)


def test_the_patches_for_the_plain_training_are_undone_afterwards(params: Params) -> None:
    generator = Generator(GeneratorArchitecture(image_size=32, width=4))
    with ExitStack() as stack:
        plain = make_plain(params.train, stack)
        assert plain.precision == "float32"
        assert convolution.MAX_ROWS == 0
        assert type(state.build_optimizer(generator, plain)) is torch.optim.Adam
    assert convolution.MAX_ROWS > 0
    assert isinstance(state.build_optimizer(generator, params.train), MemoryOrderAdam)


@pytest.mark.parametrize(
    ("dtype", "difference"), [(TensorProto.FLOAT16, 0.01), (TensorProto.BFLOAT16, 0.1)]
)
def test_a_model_stored_in_16_bits_is_half_as_large_and_gives_similar_colours(
    exported: Path, tmp_path: Path, dtype: int, difference: float
) -> None:
    whole = exported / ONNX_FILE
    half = store_as(whole, tmp_path / "half.onnx", dtype)
    onnx.checker.check_model(onnx.load(half))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    sketch = np.random.default_rng(0).uniform(-1, 1, (1, 1, 32, 32)).astype(np.float32)
    coloured = [open_session(p).run([OUTPUT_NAME], {INPUT_NAME: sketch})[0] for p in (whole, half)]
    assert 0 < np.abs(coloured[0] - coloured[1]).max() < difference


def test_the_torch_side_of_the_colouring_benchmark_runs_torch(
    generator: Generator, exported: Path
) -> None:
    model = ModelFolder(exported, {"preprocessing": {"image_size": 32}})
    calls: list[int] = []
    generator.register_forward_hook(lambda *_: calls.append(1))
    sketch = np.full((1, 1, 32, 32), -1, np.float32)
    difference = TorchSession(model, generator).run(sketch) - ModelSession(model).run(sketch)
    assert np.abs(difference).max() < 1e-4
    assert calls == [1]
