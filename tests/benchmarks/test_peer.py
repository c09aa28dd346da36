import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks.peer import build_peer, copy_weights, count_parameters
from benchmarks.training_step import Times, paper_params, whole_run
from pipeline_steps.params import PARAMS_FILE, check_params, load_yaml
from pipeline_steps.train.state import build_state


def test_a_folder_that_is_not_a_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="not a checkout"):
        build_peer(tmp_path, torch.device("cpu"))


def test_networks_of_different_shapes_are_refused() -> None:
    with pytest.raises(SystemExit, match="differ in shape"):
        copy_weights(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))


def test_weights_are_copied_in_order() -> None:
    source, target = (torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in "ab")) for _ in "st")
    copy_weights(source, target)
    for found, expected in zip(source.parameters(), target.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_the_papers_params_pass_the_validation_of_params() -> None:
    read = paper_params(compile=True)
    tree = load_yaml(PARAMS_FILE)
    tree["train"] = dataclasses.asdict(read)
    assert check_params(tree).train == read


def test_the_networks_timed_are_the_papers() -> None:
    with torch.device("meta"):
        state = build_state(paper_params(), 256, torch.device("meta"))
    assert count_parameters(state.generator) == 54_413_955
    assert count_parameters(state.discriminator) == 2_768_705


def test_a_whole_run_includes_its_warm_up() -> None:
    slow = Times(warm_up_s=0.0, step_s=[2.0])
    fast = Times(warm_up_s=100.0, step_s=[1.0])
    assert whole_run(slow, fast, batch_size=2, run_images=200).median == 1.0
    assert whole_run(slow, fast, batch_size=2, run_images=200_000).median == pytest.approx(2, 0.01)
