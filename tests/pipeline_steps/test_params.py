from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_steps.errors import ParamError
from pipeline_steps.overrides import read_overrides
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
        ("download.source", "archive", "download.path: must name"),
        ("download.path", 3, "download.path: must be str or null, got 3"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(
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


def test_a_section_that_is_a_number_is_refused(tree: Any) -> None:
    tree["train"] = 3
    with pytest.raises(ParamError, match="train: must be a section"):
        check_params(tree)


def test_a_whole_number_serves_as_a_fraction(tree: Any) -> None:
    tree["train"]["l1_weight"] = 100
    assert check_params(tree).train.l1_weight == 100.0


@pytest.mark.parametrize("content", ["a: [", "\x00", "- 1\n- 2"])
def test_a_file_that_is_no_params_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(ParamError):
        read_params(path)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamError, match="run from the repository's root"):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["kaggle", "archive"])
def test_tuned_params_files_fit_the_committed_params(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    overrides = read_overrides(Path(f"params/{name}.yaml"), ["download.path=x.zip"])
    assert overrides["download.source"] == name
    assert overrides["download.path"] == "x.zip"


def test_an_unknown_override_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ParamError, match=r"train\.epoch: unknown key"):
        read_overrides(Path("params/kaggle.yaml"), ["train.epoch=3"])
    with pytest.raises(ParamError, match="must be key=value"):
        read_overrides(Path("params/kaggle.yaml"), ["train.epochs"])
