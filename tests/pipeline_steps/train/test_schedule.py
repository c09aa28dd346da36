import dataclasses
from typing import Literal

import pytest
import torch

from pipeline_steps.params import Params
from pipeline_steps.train.schedule import (
    draws_hints,
    is_adversarial,
    learning_rate_scale,
    line_style_share,
    set_learning_rate,
)


def test_learning_rates_decrease_to_nearly_0_at_the_end(params: Params) -> None:
    small = params.train
    scales = [
        learning_rate_scale(epoch, dataclasses.replace(small, epochs=10, lr_decay_fraction=0.5))
        for epoch in range(10)
    ]
    assert scales[:5] == [1.0] * 5
    assert scales[5:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    constant = dataclasses.replace(small, lr_decay_fraction=0.0)
    assert learning_rate_scale(small.epochs - 1, constant) == 1.0


def test_the_adversarial_loss_begins_after_its_share_of_the_epochs(params: Params) -> None:
    def adversarial(fraction: float) -> list[bool]:
        changed = dataclasses.replace(params.train, epochs=4, adversarial_start_fraction=fraction)
        return [is_adversarial(epoch, changed) for epoch in range(4)]

    assert adversarial(0.0) == [True] * 4
    assert adversarial(0.75) == [False, False, False, True]
    assert adversarial(1.0) == [False] * 4


def test_sketches_are_redrawn_after_their_share_of_the_epochs(params: Params) -> None:
    changed = dataclasses.replace(
        params.train, epochs=4, line_styles=0.3, line_styles_start_fraction=0.5
    )
    assert [line_style_share(epoch, changed) for epoch in range(4)] == [0.0, 0.0, 0.3, 0.3]


def test_hints_are_drawn_after_their_share_of_the_epochs(params: Params) -> None:
    def drawn(hints: Literal["none", "points"], start: float = 0.25) -> list[bool]:
        changed = dataclasses.replace(
            params.train, epochs=4, hints=hints, hints_start_fraction=start
        )
        return [draws_hints(epoch, changed) for epoch in range(4)]

    assert drawn("points") == [False, True, True, True]
    assert drawn("points", 1.0) == [False, False, False, True]
    assert drawn("none") == [False] * 4


def test_a_new_learning_rate_applies_to_every_parameter() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [weight]} for weight in weights]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    set_learning_rate(optimizer, 0.25)
    for weight in weights:
        weight.grad = torch.ones(1)
    optimizer.step()
    assert [weight.item() for weight in weights] == [-0.25, -0.25]
