"""What is said about the baselines."""

from pipeline_steps.scores.table import beats, best_baseline

EVALUATION = {
    "generator": {"l1": 0.2, "psnr": 18.0, "ssim": 0.7, "chroma": 9.0},
    "copy_sketch": {"l1": 0.4, "psnr": 11.0, "ssim": 0.6, "chroma": 14.0},
    "white": {"l1": 0.5, "psnr": 9.0, "ssim": 0.5, "chroma": 14.5},
    "train_mean": {"l1": 0.3, "psnr": 13.0, "ssim": 0.4, "chroma": 12.0},
    "test_pairs": 6,
}


def test_what_beats_the_best_value_of_each_metric_beats_every_baseline() -> None:
    best = best_baseline(EVALUATION)
    assert best == {"l1": 0.3, "psnr": 13.0, "ssim": 0.6, "chroma": 12.0}
    for metric, value in best.items():
        generator = EVALUATION["generator"] | {metric: value}  # type: ignore[operator]
        losing = EVALUATION | {"generator": generator}
        assert not all(beats(losing, name) for name in ("copy_sketch", "white", "train_mean"))
    assert all(beats(EVALUATION, name) for name in ("copy_sketch", "white", "train_mean"))
