from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import recipes
from pipeline_steps.base.errors import ParamError
from pipeline_steps.pairs.packed import PackedPairs
from tests.whole.clone import SMALL

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_every_recipe_is_an_overlay_of_the_training(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    params = recipes.read_recipe(name)
    if name != "default":
        assert params != recipes.read_recipe("default")


def test_a_recipe_with_an_unknown_key_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    (tmp_path / "odd.yaml").write_text("train: {learning_speed: 3}\n")
    with pytest.raises(ParamError, match=r"^train\.learning_speed: unknown key"):
        recipes.read_recipe("odd")


def test_a_change_is_paired_over_seeds_and_pictures() -> None:
    random = np.random.default_rng(0)
    pictures = random.uniform(0.1, 1.0, 100)
    reference = np.stack([pictures * factor for factor in (0.9, 1.0, 1.1)])
    assert recipes.change(reference, reference) == "+0 % [+0, +0]"
    assert recipes.change(0.9 * reference, reference) == "−10 % [−10, −10]"


def test_a_comparison_trains_each_once_and_prints_a_table(
    in_folder: Path,
    make_pairs: Callable[..., PackedPairs],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["prepare"] |= SMALL["prepare"]
    params["train"] |= SMALL["train"] | {"batch_size": 4, "precision": "float32"}
    (in_folder / "params.yaml").write_text(yaml.safe_dump(params))
    (in_folder / "recipes").mkdir()
    (in_folder / "recipes/smooth.yaml").write_text("train: {l1_weight: 10.0}\n")
    monkeypatch.setattr(recipes, "RECIPES", in_folder / "recipes")
    monkeypatch.setattr(recipes, "ROUND_S", 0.01)
    for name, count in (("train", 8), ("val", 2), ("test", 3)):
        make_pairs(name, count).path.rename(in_folder / f"{name}.npy")
    command = ["recipes", "--set", f"toy={in_folder}", "--seeds", "1", "2", "--seconds", "0.2"]
    monkeypatch.setattr("sys.argv", command)

    recipes.main()
    printed = capsys.readouterr().out
    assert printed.count("seed ") == 4
    assert "| toy, 2 seeds | images | L1 | PSNR dB | SSIM |" in printed
    assert [line.split(" ")[1] for line in printed.splitlines()[-2:]] == ["default", "smooth"]

    recipes.main()
    assert capsys.readouterr().out == printed[printed.index("| toy") :]
