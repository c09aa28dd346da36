import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_steps.base.errors import ParamError
from pipeline_steps.commands.overrides import apply_overrides, parse_assignments, read_overrides
from pipeline_steps.params import check_params, flatten, read_params

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def tree() -> Any:
    return yaml.safe_load((REPOSITORY / "params.yaml").read_text())


def test_committed_params_are_accepted() -> None:
    params = read_params(REPOSITORY / "params.yaml")
    assert flatten(params)["train.epochs"] == params.train.epochs


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.batch_size", 0, "train.batch_size: must be ≥ 1, got 0"),
        ("train.batch_size", True, "train.batch_size: must be int, got True"),
        ("train.batch_size", "four", "train.batch_size: must be int, got 'four'"),
        ("train.generator_lr", float("nan"), "train.generator_lr: must be ≤ 1, got nan"),
        ("train.dropout", 1.5, "train.dropout: must be ≤ 0.9, got 1.5"),
        ("train.normalization", "layer", "must be batch or instance, got 'layer'"),
        ("train.epoch", 3, "train.epoch: unknown key"),
        ("prepare.image_size", 100, "prepare.image_size: must be a power of two from 32 to 2048"),
        ("prepare.sketch_side", None, "prepare.sketch_side: must be auto or left or right"),
        ("train.compile", 1, "train.compile: must be auto or true or false, got 1"),
        ("train.compile", "yes", "train.compile: must be auto or true or false, got 'yes'"),
        ("train.accumulation_steps", 3, "train.accumulation_steps: must divide train.batch_size"),
        ("train.load_size", 64, "train.load_size: must be ≥ prepare.image_size"),
        ("train.bottleneck_px", 32, "train.bottleneck_px: must be ≤ 16, an eighth of"),
        ("train.bottleneck_px", 3, "train.bottleneck_px: must be a power of two from 1 to 128"),
        ("train.line_styles", 1.5, "train.line_styles: must be ≤ 1, got 1.5"),
        ("download.source", "archive", "download.path: must name"),
        ("download.path", 3, "download.path: must be str or null, got 3"),
        ("train.batch_size", 4.0, "train.batch_size: must be int, got 4.0"),
        ("train.generator_lr", True, "train.generator_lr: must be float, got True"),
        ("train.generator_lr", 10**400, "train.generator_lr: must be float, got 1000"),
        ("train.l1_weight", float("inf"), "train.l1_weight: must be ≤ 1e+06, got inf"),
        ("train.l1_weight", float("-inf"), "train.l1_weight: must be ≥ 0, got -inf"),
        ("train.compile", 0, "train.compile: must be auto or true or false, got 0"),
        ("train.horizontal_flip", 1, "train.horizontal_flip: must be true or false, got 1"),
        ("prepare.image_size", -64, "prepare.image_size: must be a power of two"),
        ("prepare.image_size", 4096, "power of two from 32 to 2048, got 4096"),
        ("promotion.margins", {"l1": 0}, "promotion.margins.psnr: missing"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_bound(
    tree: Any, key: str, value: object, message: str
) -> None:
    section, name = key.split(".")
    tree[section][name] = value
    with pytest.raises(ParamError) as refused:
        check_params(tree)
    assert message in str(refused.value)


def test_a_missing_key_is_named(tree: Any) -> None:
    del tree["train"]["epochs"]
    with pytest.raises(ParamError, match=r"train\.epochs: missing"):
        check_params(tree)


def test_a_misspelt_key_is_named_before_the_missing_one(tree: Any) -> None:
    tree["train"]["epoch"] = tree["train"].pop("epochs")
    with pytest.raises(ParamError, match=r"^train\.epoch: unknown key; train has epochs, batch"):
        check_params(tree)


def test_a_value_in_a_nested_section_is_named_in_full(tree: Any) -> None:
    tree["promotion"]["margins"]["psnr"] = -1
    with pytest.raises(ParamError, match=r"^promotion\.margins\.psnr: must be ≥ 0, got -1$"):
        check_params(tree)


@pytest.mark.parametrize("value", ["auto", True, False])
def test_compile_keeps_its_value_and_type(tree: Any, value: object) -> None:
    tree["train"]["compile"] = value
    assert check_params(tree).train.compile is value


def test_a_section_that_is_a_number_is_refused(tree: Any) -> None:
    tree["train"] = 3
    with pytest.raises(ParamError, match="train: must be a section"):
        check_params(tree)


def test_an_int_is_accepted_for_a_float(tree: Any) -> None:
    tree["train"]["l1_weight"] = 100
    read = check_params(tree).train.l1_weight
    assert (read, type(read)) == (100.0, float)


def test_the_trainer_imports_no_package_that_a_gpu_machine_lacks() -> None:
    """Such a machine has torch, numpy, safetensors, pyyaml, tqdm, Pillow and filelock only."""
    absent = ("annotated_types", "dvc", "mlflow", "pandas", "prefect", "pydantic", "requests")
    modules = ("pipeline_steps.params", "pipeline_steps.train.trainer", "benchmarks.gpu")
    code = (
        "import sys, pkgutil, importlib\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "networks = importlib.import_module('pipeline_steps.networks')\n"
        "for found in pkgutil.iter_modules(networks.__path__):\n"
        "    importlib.import_module(f'pipeline_steps.networks.{found.name}')\n"
        f"print(sorted(name for name in {absent} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("content", ["a: [", "\x00", "- 1\n- 2"])
def test_a_file_without_params_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(ParamError):
        read_params(path)


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "an alias in line 2"),
        ("a: " + "[" * 50_000, "nested too deeply"),
        ("a: " + "9" * 5000, "not valid YAML for params"),
        ("a: 2024-99-99", "not valid YAML for params"),
        ("a: !!python/object/apply:os.system ['exit 3']", "could not determine a constructor"),
        ("train:\n  epochs: 1\n  epochs: 2", "key 'epochs' in line 2 appears twice"),
        ("a: \x00", "special characters are not allowed"),
        ("", "must be a section of keys, got None"),
        ("#" * (1 << 20) + "\n", "larger than"),
    ],
    ids=["bomb", "deep", "long number", "bad date", "code", "twice", "binary", "empty", "large"],
)
def test_a_hostile_file_is_refused_in_one_short_line(
    tmp_path: Path, content: str, reason: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(ParamError) as refused:
        read_params(path)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 400 + len(str(path))
    assert "\n" not in str(refused.value)


def test_latin_1_folders_and_fifos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: ü".encode("latin-1"))
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path / "latin.yaml", tmp_path / "fifo.yaml", tmp_path):
        with pytest.raises(ParamError, match=path.name):
            read_params(path)


@pytest.mark.parametrize("value", ["x" * 10_000, ["x" * 1000] * 1000, {"a": ["b"] * 10_000}])
def test_a_long_value_is_shortened(tree: Any, value: object) -> None:
    for name in ("epochs", "gan_loss", "generator_lr"):
        invalid = copy.deepcopy(tree)
        invalid["train"][name] = value
        with pytest.raises(ParamError, match=f"train.{name}: must be") as refused:
            check_params(invalid)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("key", [3, None, "x" * 10_000, ("a", "b")])
def test_a_key_that_is_not_a_string_is_refused(tree: Any, key: object) -> None:
    tree["train"][key] = 1
    with pytest.raises(ParamError, match="unknown key") as refused:
        check_params(tree)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("word", ["train.epochs=[", "train.epochs=!!python/name:os.system", "a=*b"])
def test_an_override_that_is_not_yaml_is_refused(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ParamError, match="not a YAML value"):
        read_overrides(Path("params/kaggle.yaml"), parse_assignments([word]))


def test_a_missing_params_file_is_reported_with_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamError, match="run from the repository's root"):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["kaggle", "archive"])
def test_params_files_override_the_committed_params(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    overrides = read_overrides(Path(f"params/{name}.yaml"), {"download.path": "x.zip"})
    assert overrides["download.source"] == name
    assert overrides["download.path"] == "x.zip"


def test_an_unknown_override_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ParamError, match=r"train\.epoch: unknown key"):
        read_overrides(Path("params/kaggle.yaml"), {"train.epoch": 3})
    with pytest.raises(ParamError, match="must be key=value"):
        parse_assignments(["train.epochs"])


@pytest.mark.parametrize("content", ["", "- 1", "3"])
def test_an_overrides_file_without_keys_is_refused(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "tuned.yaml").write_text(content)
    with pytest.raises(ParamError, match=r"tuned\.yaml: must be sections of keys"):
        read_overrides(tmp_path / "tuned.yaml", {})


def test_overrides_leave_the_tree_unchanged(tree: Any) -> None:
    before = copy.deepcopy(tree)
    assert apply_overrides(tree, {"train.epochs": 3})["train"]["epochs"] == 3
    assert tree == before
