"""What is said about the baselines."""

from pipeline_steps.scores.table import beats, best_baseline, format_evaluation

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


def test_distances_of_sets_are_columns_and_line_styles_a_line() -> None:
    assert "KID" not in format_evaluation(EVALUATION)
    names = ("generator", "copy_sketch", "white", "train_mean")
    kid = {name: {"value": 2.5, "low": 1.0, "high": 4.0} for name in names}
    fid = dict.fromkeys(names, 31.25) | {"weights_sha256": "a" * 64}
    styles = {"half_blurred": {"l1": 0.3}, "gaps": {"l1": 0.19}}
    lines = format_evaluation(EVALUATION | {"kid": kid, "fid": fid, "line_styles": styles})
    table = lines.splitlines()
    assert table[0].split()[-2:] == ["KID·1000", "FID"]
    assert table[1].split()[-2:] == ["2.5", "31.2"]
    assert table[-1] == "L1 on other line styles: half blurred +50%, gaps -5%"
