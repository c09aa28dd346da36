"""Export and runtime: an exported folder colours as the generator does, or is refused."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from colorizer import Colorizer
from colorizer.base.errors import ModelFolderError, PictureError
from colorizer.base.files import write_json
from colorizer.model.folder import CHECKED_FILES, ModelFolder, compute_checksums, open_model_folder
from pipeline_steps.base.errors import ExportError
from pipeline_steps.base.paths import (
    DATASET,
    EVALUATION_METRICS,
    EXPORTED_MODEL,
    GENERATOR,
    RANDOM_GRID,
    TEST_PAIRS,
    TRAINING_METRICS,
)
from pipeline_steps.export.model_card import write_card
from pipeline_steps.export.onnx_export import compare_with_torch, export_onnx, require_small
from pipeline_steps.export.stage import main
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture, save_generator
from pipeline_steps.pairs.packed import PackedPairs
from tests.pipeline_steps.hints.few_steps import few_flow_steps

EVALUATION = {
    name: {"l1": 0.1, "psnr": 20.0, "ssim": 0.9, "chroma": 3.0}
    for name in ("generator", "copy_sketch", "white", "train_mean")
}


def make_config(architecture: GeneratorArchitecture) -> dict[str, Any]:
    return {
        "format_version": 1,
        "name": "sketch-colorizer",
        "preprocessing": {"image_size": architecture.image_size},
        "hints": architecture.hints,
        "architecture": dataclasses.asdict(architecture),
        "data": {"pairs": {"train": 3, "val": 1, "test": 2}, "fingerprint": "f", "source": None},
        "training": {"epochs": 2, "best_epoch": 1},
        "evaluation": {**EVALUATION, "test_pairs": 2},
        "data_licence": "free",
    }


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    """With every option: the paper's generator has none."""
    torch.manual_seed(0)
    architecture = GeneratorArchitecture(
        image_size=32,
        width=4,
        upsampling="bilinear",
        bottleneck_px=4,
        darken_ink=True,
        hints="points",
    )
    with few_flow_steps():
        yield Generator(architecture).eval()


@pytest.fixture(scope="module")
def exported(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export_onnx(generator, folder / "generator.onnx")
    save_generator(folder / "generator.safetensors", generator.architecture, generator.state_dict())
    config = make_config(generator.architecture)
    write_json(folder / "config.json", config)
    (folder / "README.md").write_text(write_card(config))
    Image.new("RGB", (4, 4)).save(folder / "grid.png")
    write_json(folder / "checksums.json", compute_checksums(folder))
    return folder


@pytest.fixture
def copy_of(exported: Path, tmp_path: Path) -> Path:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("num_hints", [0, 3])
def test_onnx_colours_any_batch_as_torch_does(
    exported: Path, generator: Generator, batch: int, num_hints: int
) -> None:
    random = np.random.default_rng(1)
    sketches = random.uniform(-1, 1, (batch, 1, 32, 32)).astype(np.float32)
    hints = np.zeros((batch, 4, 32, 32), np.float32)
    for row, column in random.integers(0, 32, (num_hints, 2)):
        hints[:, :, row, column] = [0.01, -0.005, 0.0, 0.01]  # a dot on a large page
    given = hints if num_hints else None
    with torch.inference_mode():
        tensor = torch.from_numpy(hints) if num_hints else None
        expected = generator(torch.from_numpy(sketches), hints=tensor).numpy()
    session = Colorizer.load(exported).session
    assert np.abs(session.run(sketches, hints=given) - expected).max() < 1e-4
    assert not num_hints or np.abs(session.run(sketches) - expected).max() > 1e-4


def test_the_onnx_file_is_self_contained_and_contains_no_local_path(exported: Path) -> None:
    content = (exported / "generator.onnx").read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in content
    model = onnx.load_model_from_string(content)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_another_generator_is_detected_on_real_sketches(
    exported: Path, generator: Generator, make_pairs: Callable[..., PackedPairs]
) -> None:
    pairs = make_pairs("test", 3)
    model = open_model_folder(exported)
    difference = compare_with_torch(model, generator, pairs, num_pairs=2)
    require_small(difference, 1e-4)
    torch.manual_seed(1)
    other = Generator(generator.architecture).eval()
    with pytest.raises(ExportError, match=r"more than export\.max_onnx_difference"):
        require_small(compare_with_torch(model, other, pairs, num_pairs=2), 1e-4)


def test_equal_weights_give_equal_bytes_and_exporting_ends_by_printing_how_to_register(
    in_folder: Path,
    generator: Generator,
    exported: Path,
    make_pairs: Callable[..., PackedPairs],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = make_config(generator.architecture)
    shutil.copy(Path(__file__).parents[3] / "params.yaml", in_folder)
    TEST_PAIRS.parent.mkdir(parents=True)
    make_pairs("test", 3).path.rename(TEST_PAIRS)
    RANDOM_GRID.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(RANDOM_GRID)
    save_generator(GENERATOR, generator.architecture, generator.state_dict())
    write_json(DATASET, config["data"])
    write_json(TRAINING_METRICS, config["training"])
    write_json(EVALUATION_METRICS, config["evaluation"])
    main()
    last = "register it: python -m pipeline_steps register (make repro does)"
    assert capsys.readouterr().out.splitlines()[-1] == last
    open_model_folder(EXPORTED_MODEL)
    made = (EXPORTED_MODEL / "generator.onnx").read_bytes()
    assert made == (exported / "generator.onnx").read_bytes()


def test_only_the_card_of_the_samples_model_calls_it_a_toy(generator: Generator) -> None:
    config = make_config(generator.architecture)
    assert "toy" not in write_card(config)
    config["data"]["source"] = {"source": "sample", "origin": "drawn by this project"}
    assert "A toy, to try the pipeline with" in write_card(config)
    assert "`make archive PAIRS=…`" in write_card(config)
    for source in ({"source": "kaggle"}, {}, "sample", ["sample"]):
        config["data"]["source"] = source
        assert ModelFolder(Path(), config).note is None
    assert ModelFolder(Path(), {"data": "sample"}).note is None  # a folder of another origin


def test_a_difference_that_is_nan_is_refused() -> None:
    with pytest.raises(ExportError):
        require_small(float("nan"), 1.0)


@pytest.mark.parametrize("name", CHECKED_FILES)
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_file_is_refused_by_name(copy_of: Path, name: str, damage: str) -> None:
    content = bytearray((copy_of / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy_of / name).write_bytes(content) if damage == "flipped" else (copy_of / name).unlink()
    with pytest.raises(ModelFolderError, match=name.replace(".", r"\.")):
        open_model_folder(copy_of)


def test_a_folder_of_a_newer_format_is_refused_with_what_to_do(copy_of: Path) -> None:
    config = json.loads((copy_of / "config.json").read_text())
    write_json(copy_of / "config.json", config | {"format_version": 2})
    write_json(copy_of / "checksums.json", compute_checksums(copy_of))
    with pytest.raises(ModelFolderError, match="update image-colorizer"):
        open_model_folder(copy_of)


@pytest.mark.parametrize("content", ["", "[]", "\x00"])
def test_an_invalid_checksum_file_is_refused(copy_of: Path, content: str) -> None:
    (copy_of / "checksums.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"checksums\.json"):
        open_model_folder(copy_of)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "onnxruntime can't load it"), (b"no model", "not an ONNX model")],
)
def test_a_file_that_is_not_a_model_is_refused(copy_of: Path, content: bytes, reason: str) -> None:
    (copy_of / "generator.onnx").write_bytes(content)
    with pytest.raises(ModelFolderError, match=reason):
        Colorizer(ModelFolder(copy_of, {}))


def sealed(folder: Path, config: object) -> Path:
    """A folder with this config and matching checksums, as an attacker would make it."""
    (folder / "config.json").write_text(json.dumps(config))
    write_json(folder / "checksums.json", compute_checksums(folder))
    return folder


@pytest.mark.parametrize(
    "preprocessing",
    [None, 3, {}, *({"image_size": size} for size in (10**9, -32, 0, 32.5, "32", True, None))],
)
def test_a_config_with_an_impossible_size_is_refused(copy_of: Path, preprocessing: object) -> None:
    config = json.loads((copy_of / "config.json").read_text()) | {"preprocessing": preprocessing}
    with pytest.raises(ModelFolderError, match=r"config\.json: preprocessing\.image_size must be"):
        Colorizer.load(sealed(copy_of, config))


@pytest.mark.parametrize("version", ["1", None, -1, 0, 1.5, "x" * 1000])
def test_a_folder_of_an_unknown_format_is_refused(copy_of: Path, version: object) -> None:
    config = json.loads((copy_of / "config.json").read_text()) | {"format_version": version}
    with pytest.raises(ModelFolderError, match="format_version must be 1") as refused:
        open_model_folder(sealed(copy_of, config))
    assert len(str(refused.value)) < 400


def test_a_model_of_another_size_than_its_config_says_is_refused(copy_of: Path) -> None:
    config = json.loads((copy_of / "config.json").read_text())
    config["preprocessing"]["image_size"] = 64
    with pytest.raises(ModelFolderError, match="its inputs and outputs aren't pictures of 64 px"):
        Colorizer.load(sealed(copy_of, config))


def test_a_json_nested_too_deeply_is_refused(copy_of: Path) -> None:
    (copy_of / "checksums.json").write_text("[" * 100_000)
    with pytest.raises(ModelFolderError, match="not JSON"):
        open_model_folder(copy_of)


@pytest.mark.parametrize("where", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_external_weights_are_refused_without_opening_their_files(
    copy_of: Path, where: str
) -> None:
    model = onnx.load(copy_of / "generator.onnx")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", where), ("offset", "0"), ("length", str(len(tensor.raw_data)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    (copy_of / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    (copy_of / "generator.onnx").write_bytes(model.SerializeToString())
    write_json(copy_of / "checksums.json", compute_checksums(copy_of))
    with pytest.raises(ModelFolderError, match="stores weights in other files"):
        Colorizer.load(copy_of)


def test_a_model_replaced_after_its_check_is_refused(copy_of: Path) -> None:
    model = open_model_folder(copy_of)
    content = bytearray((copy_of / "generator.onnx").read_bytes())
    content[-1] ^= 1
    (copy_of / "generator.onnx").write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"generator\.onnx: differs from its checksum"):
        Colorizer(model)


@pytest.mark.parametrize("size", [(32, 32), (100, 37), (20, 200), (1, 1)])
def test_the_coloured_picture_has_the_sketchs_size(
    exported: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("L", size, 255).save(tmp_path / "sketch.png")
    coloured = Colorizer.load(exported)(tmp_path / "sketch.png")
    assert (coloured.size, coloured.mode) == (size, "RGB")


def test_the_command_line_reports_what_is_wrong(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PictureError):
        Colorizer.load(exported)(tmp_path / "text.png")
    for arguments in (["text.png", "--model", str(exported)], ["text.png", "--model", "nowhere"]):
        done = subprocess.run(
            [sys.executable, "-m", "colorizer", arguments[0], "-o", "out.png", *arguments[1:]],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out.png").exists()


def test_the_runtime_loads_no_torch(exported: Path) -> None:
    script = (
        "import sys; from colorizer import Colorizer; Colorizer.load(sys.argv[1]);"
        "heavy = {'torch', 'mlflow', 'dvc', 'prefect', 'pandas', 'onnx'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(exported)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"


def test_the_model_card_names_data_metrics_use_and_licence(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    for part in ("Intended use", "Licence of the data: free", "| copy sketch | 0.100", "grid.png"):
        assert part in card


def test_the_card_of_a_model_of_the_sample_says_who_drew_it(generator: Generator) -> None:
    config = make_config(generator.architecture)
    config["data"]["source"] = {"source": "sample", "origin": "drawn by this project"}
    assert "Licence of the data: this project's, whose code draws" in write_card(config)
