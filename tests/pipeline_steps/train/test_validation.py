"""What is computed of the true val pictures is kept between epochs, for small sets."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline_steps.networks.generator import Generator, GeneratorArchitecture
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.scores.scorer import Reference, Scorer
from pipeline_steps.train import validation
from pipeline_steps.train.validation import ValReferences, validate


class CountingScorer(Scorer):
    """Counts the batches whose true pictures were prepared."""

    def __init__(self) -> None:
        super().__init__(st_lpips=False, device=torch.device("cpu"))
        self.prepared = 0

    def reference(self, truth: Tensor, sketch: Tensor | None = None) -> Reference:
        self.prepared += 1
        return super().reference(truth, sketch)


@pytest.mark.parametrize(
    ("max_kept_pixels", "prepared"), [(20 * 32 * 32, 2), (20 * 32 * 32 - 1, 4)]
)
def test_true_pictures_of_a_small_set_are_prepared_once(
    max_kept_pixels: int,
    prepared: int,
    make_pairs: Callable[..., PackedPairs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validation, "MAX_KEPT_PIXELS", max_kept_pixels)
    pairs, scorer = make_pairs("val", 20), CountingScorer()
    generator = Generator(GeneratorArchitecture(image_size=32, width=4))
    references = ValReferences(pairs, scorer)
    first = validate(generator, pairs, scorer, references)
    with torch.no_grad():
        for weights in generator.parameters():
            weights.add_(0.1)
    later = validate(generator, pairs, scorer, references)
    assert scorer.prepared == prepared
    assert later != first
    assert later == validate(generator, pairs, scorer, ValReferences(pairs, scorer))
