"""Every metric by the number of dots; nothing for a generator that takes no hints."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from pipeline_steps.evaluate.hints import (
    score_by_count,
    score_obedience,
    summarize,
    tabulate,
)
from pipeline_steps.evaluate.scoring import read_halves
from pipeline_steps.hints.by_region import COUNTS, paint_dots, place_dots
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.scores.metrics import score

PLAIN = GeneratorArchitecture(image_size=32, width=4)


@pytest.fixture
def pairs(make_pairs: Callable[..., PackedPairs]) -> PackedPairs:
    return make_pairs("test", 5)


def test_a_generators_pictures_with_hints_are_scored_by_their_number(pairs: PackedPairs) -> None:
    torch.manual_seed(1)
    generator = Generator(dataclasses.replace(PLAIN, hints="points")).eval()
    by_count = score_by_count(generator, pairs, batch_size=2, seed=3, st_lpips=False)
    assert list(by_count) == list(COUNTS)
    sketch, truth = read_halves(pairs, torch.arange(5))
    dots = place_dots(truth, sketch, [3 + number for number in range(5)], max(COUNTS))
    with torch.inference_mode():
        coloured = generator(sketch, hints=paint_dots(truth, sketch, dots, COUNTS[1]))
    assert torch.allclose(by_count[COUNTS[1]]["l1"], score(coloured, truth)["l1"], atol=1e-5)
    table = tabulate(by_count, seed=1)
    assert (table["l1_low"] <= table["l1"]).all()
    assert (table["l1"] <= table["l1_high"]).all()
    obedience = score_obedience(generator, pairs, batch_size=2, seed=3)
    summary = summarize(table, obedience)
    assert summary is not None
    assert set(summary["by_count"]) == {str(count) for count in COUNTS}


def test_without_hints_there_is_nothing_to_score(pairs: PackedPairs) -> None:
    generator = Generator(PLAIN).eval()
    assert score_by_count(generator, pairs, batch_size=2, seed=3, st_lpips=False) == {}
    assert score_obedience(generator, pairs, batch_size=2, seed=3) is None
    assert summarize(tabulate({}, seed=1), None) is None
