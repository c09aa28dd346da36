import hashlib

import pytest
import torch

from pipeline_steps.train.augmentation import (
    EpochPlan,
    augment,
    jitter,
    mix_seed,
    plan_epoch,
    shuffle,
)


def plan(seed: int = 1, epoch: int = 0) -> EpochPlan:
    return plan_epoch(seed=seed, epoch=epoch, num_pairs=50, load_size=36, image_size=32, flip=True)


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    torch.manual_seed(5)
    first = plan()
    torch.manual_seed(6)
    again = plan()
    assert torch.equal(first.order, again.order)
    assert torch.equal(first.corners, again.corners)
    assert not torch.equal(first.order, plan(epoch=1).order)
    assert not torch.equal(first.order, plan(seed=2).order)


def test_every_pair_is_taken_once_and_crops_stay_inside() -> None:
    drawn = plan()
    assert sorted(drawn.order.tolist()) == list(range(50))
    assert drawn.corners.min() == 0
    assert drawn.corners.max() == 4
    assert 10 < int(drawn.mirrored.sum()) < 40


def shuffled(shuffle_shards: int, seed: int = 1) -> list[int]:
    random = torch.Generator().manual_seed(seed)
    order: list[int] = shuffle(50, 8, shuffle_shards, random).tolist()
    return order


@pytest.mark.parametrize("shuffle_shards", [0, 1, 2, 3, 6, 7, 100])
def test_every_pair_is_taken_once_with_any_number_of_shards(shuffle_shards: int) -> None:
    order = shuffled(shuffle_shards)
    assert sorted(order) == list(range(50))
    assert order == shuffled(shuffle_shards)
    assert order != shuffled(shuffle_shards, seed=2)


@pytest.mark.parametrize("shuffle_shards", [1, 2, 3])
def test_the_pairs_of_a_window_of_shards_are_shuffled_together(shuffle_shards: int) -> None:
    order = shuffled(shuffle_shards)
    windows: list[set[int]] = []
    while order:
        window = {pair // 8 for pair in order[:1]}
        while order and (len(window | {order[0] // 8}) <= shuffle_shards):
            window.add(order.pop(0) // 8)
        windows.append(window)
    # no shard is needed again once its window is over, and they don't come as they lie
    assert [len(window) for window in windows] == {1: [1] * 7, 2: [2, 2, 2, 1], 3: [3, 3, 1]}[
        shuffle_shards
    ]
    shards = [shard for window in windows for shard in sorted(window)]
    assert sorted(shards) == list(range(7)) != shards


def test_all_shards_together_are_shuffled_as_without_shards() -> None:
    random = torch.Generator().manual_seed(1)
    expected = torch.randperm(50, generator=random).tolist()
    assert shuffled(0) == shuffled(7) == expected


def test_orders_stay_as_they_are() -> None:
    """What is trained from now on must be comparable with what was trained before."""
    orders = [
        plan_epoch(
            seed=3,
            epoch=2,
            num_pairs=1000,
            load_size=143,
            image_size=128,
            flip=True,
            shard_pairs=64,
            shuffle_shards=shuffle_shards,
        ).order
        for shuffle_shards in (0, 4)
    ]
    digests = [hashlib.sha256(order.numpy().tobytes()).hexdigest()[:16] for order in orders]
    assert digests == ["13f3316a86bc749b", "70f79948d838d6da"]


def test_both_halves_get_the_same_crop_and_mirroring() -> None:
    colour = torch.rand(4, 3, 32, 32)
    sketch = colour.mean(dim=1, keepdim=True)
    drawn = plan()
    done = jitter(torch.cat([colour, sketch], dim=1), drawn.corners[:4], drawn.mirrored[:4], 36)
    assert torch.allclose(done[:, :3].mean(dim=1, keepdim=True), done[:, 3:], atol=1e-5)


def test_parts_of_a_batch_are_augmented_as_the_whole() -> None:
    """A resumed training and each process of several draw what one uninterrupted one does."""
    pairs, drawn = torch.rand(8, 4, 32, 32) * 2 - 1, plan()

    def augmented(first: int, last: int, share: float) -> torch.Tensor:
        part = pairs[first:last]
        return augment(part, drawn, slice(first, last), load_size=36, redrawn_share=share)

    whole = augmented(0, 8, 1.0)
    assert torch.equal(whole, torch.cat([augmented(0, 3, 1.0), augmented(3, 8, 1.0)]))
    plain = augmented(0, 8, 0.0)
    assert torch.equal(whole[:, :3], plain[:, :3])
    assert not torch.equal(whole[:, 3:], plain[:, 3:])


def test_mirroring_is_left_to_right() -> None:
    pairs = torch.arange(8.0).reshape(1, 1, 2, 4).expand(2, 4, 2, 4)
    corners = torch.zeros(2, 2, dtype=torch.int64)
    pairs = torch.nn.functional.interpolate(pairs, (4, 4))
    done = jitter(pairs, corners, torch.tensor([True, False]), 4)
    assert torch.equal(done[0], pairs[0].flip(-1))
    assert torch.equal(done[1], pairs[1])


def test_similar_seeds_and_epochs_give_different_draws() -> None:
    seeds = {mix_seed(a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500
    assert mix_seed(1, 2) != mix_seed(2, 1)
