"""Main colours by share and hue, and the best assignment of given colours."""

from itertools import permutations

import numpy as np
import pytest

from colorizer.look.colour_clusters import Clusters, find_clusters, match, to_hue_space


def test_stray_pixels_get_no_cluster_of_their_own() -> None:
    lab = np.repeat(
        np.array([[50, 40, 0], [55, 0, 40], [60, -60, -60]], np.float32), [500, 300, 4], axis=0
    )
    found = find_clusters(to_hue_space(lab), np.ones(len(lab), np.float32), 2)
    expected = to_hue_space(lab[[0, 500]])
    assert found.centres == pytest.approx(expected, abs=3)
    assert found.shares == pytest.approx([0.62, 0.38], abs=0.02)


def test_shades_of_one_hue_are_one_cluster() -> None:
    lightness = np.linspace(45, 65, 100, dtype=np.float32)
    lab = np.stack([lightness, 0.6 * lightness, 0 * lightness], 1)
    assert len(find_clusters(to_hue_space(lab), np.ones(100, np.float32), 4).shares) == 1


@pytest.mark.parametrize("num_given", [4, 6])
def test_the_assignment_is_the_best_of_all(num_given: int) -> None:
    rng = np.random.default_rng(num_given)
    for _ in range(20):
        centres, given = (
            rng.normal(0, 30, (count, 3)).astype(np.float32) for count in (4, num_given)
        )
        clusters = Clusters(centres, np.array([0.7, 0.2, 0.09, 0.01], np.float32))
        # larger clusters count more
        costs = np.linalg.norm(centres[:, None] - given, axis=2) * clusters.shares[:, None] ** 0.5
        least = min(
            sum(costs[row, column] for row, column in enumerate(order))
            for order in permutations(range(num_given), 4)
        )
        matched = match(clusters, given)
        assert len(set(matched)) == 4
        assert sum(costs[range(4), matched]) == pytest.approx(least)
