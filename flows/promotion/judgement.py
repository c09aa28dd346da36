"""A version against the champion on one frozen test set: scored, checked, decided, reported."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from colorizer.base.files import write_json, write_text
from flows.errors import PromotionError
from flows.promotion.checks import find_disobedience, find_failures
from flows.promotion.decision import Decision, Evidence, Scores, decide
from flows.promotion.report import render_report
from flows.promotion.scoring import score_baselines, score_model
from flows.promotion.slices import find_slices
from flows.promotion.versions import Version, open_version
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import DATASET
from pipeline_steps.pairs.packed import PackedPairs, read_pairs
from pipeline_steps.params import PromotionParams

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TestSet:
    """The pairs that both models are scored on, and the mean training picture."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    pairs: PackedPairs
    train_mean: Path
    fingerprint: str
    """sha256 of the packed pairs."""
    data_fingerprint: str | None = None
    """Of the data set that they belong to; None if that is unknown."""
    st_lpips: bool = False
    """Whether pictures are scored by it, too."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The scores of a version and the decision about it."""

    version: Version
    champion: int | None
    """The version it was compared with; None if there was none."""
    test_set: TestSet
    test_set_changed: bool
    """Whether the champion was promoted on another test set."""
    rule: PromotionParams
    evidence: Evidence
    decision: Decision

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Mean scores of both models and of the baselines."""
        models: dict[str, Scores] = {"challenger": self.evidence.challenger}
        if self.evidence.champion is not None:
            models["champion"] = self.evidence.champion
        models |= self.evidence.baselines
        return {name: _means(scores) for name, scores in models.items() if scores}

    @property
    def report(self) -> str:
        """The comparison as Markdown."""
        return render_report(self)

    def per_picture(self) -> "pd.DataFrame":
        """One row per test picture: ``challenger_<metric>``, ``champion_<metric>``, then slices."""
        import pandas as pd

        models: dict[str, Scores] = {"challenger": self.evidence.challenger}
        if self.evidence.champion is not None:
            models["champion"] = self.evidence.champion
        columns: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.bool_]] = {
            f"{model}_{metric}": values
            for model, scores in models.items()
            for metric, values in scores.items()
        }
        return pd.DataFrame(columns | dict(self.evidence.slices))

    @contextmanager
    def artifacts(self) -> Iterator[Path]:
        """A temporary folder with the report, the table and the numbers; deleted at the end."""
        with tempfile.TemporaryDirectory(prefix="colorizer-judgement-") as temporary:
            folder = Path(temporary)
            write_text(folder / "report.md", self.report)
            intervals = {k: v._asdict() for k, v in self.decision.intervals.items()}
            write_json(
                folder / "comparison.json", {"metrics": self.metrics, "intervals": intervals}
            )
            table = self.per_picture()
            table.to_csv(folder / "per_picture.csv", float_format="%.6g", lineterminator="\n")
            yield folder


def open_test_set(prepared: Path, *, st_lpips: bool = False) -> TestSet:
    """Open the test pairs in a folder that ``prepare`` wrote; score by ``st_lpips``, too, if true.

    Raises :class:`PromotionError` if there are none, :class:`DataError` if their ``dataset.json``
    is damaged.
    """
    try:
        pairs = read_pairs(prepared / "test.npy")
    except DataError as error:
        raise PromotionError(
            f"no test set to judge on: {error} (from cache: `dvc pull`; or name its folder)"
        ) from None
    if not len(pairs):
        raise PromotionError(f"no test set to judge on: {pairs.path} holds no pairs")
    dataset = prepared / DATASET.name
    data = read_json(dataset).get("fingerprint") if dataset.exists() else None
    return TestSet(pairs, prepared / "train_mean.npy", pairs.sha256(), data, st_lpips)


def score_and_decide(
    name: str,
    version: Version,
    *,
    champion: int | None,
    test_set: TestSet,
    champion_test_set: str | None,
    rule: PromotionParams,
) -> Judgement:
    """Score a version and the champion on the test set, and decide.

    ``champion_test_set`` is the fingerprint that the champion was promoted on, if it's known.
    Raises :class:`PromotionError` if the champion can't be loaded; a challenger that can't be is
    refused instead.
    """
    champion_scores, takes_hints = None, False
    if champion is not None:
        with open_version(name, champion) as colorizer:
            champion_scores = score_model(colorizer, test_set.pairs, st_lpips=test_set.st_lpips)
            takes_hints = colorizer.model.takes_hints
    scores, failures = _score_challenger(name, version, test_set, rule, takes_hints=takes_hints)
    evidence = Evidence(
        challenger=scores,
        champion=champion_scores,
        baselines=score_baselines(test_set.pairs, test_set.train_mean, st_lpips=test_set.st_lpips),
        slices=find_slices(test_set.pairs),
        failed_checks=tuple(failures),
    )
    if scores:
        decision = decide(evidence, rule)
    else:
        decision = Decision(promote=False, reasons=tuple(failures), intervals={})
    return Judgement(
        version=version,
        champion=champion,
        test_set=test_set,
        test_set_changed=champion_test_set not in (None, test_set.fingerprint),
        rule=rule,
        evidence=evidence,
        decision=decision,
    )


def refuse_unscored(
    version: Version, test_set: TestSet, champion: int | None, rule: PromotionParams, reason: str
) -> Judgement:
    """A judgement without scores: a reason is enough to refuse."""
    return Judgement(
        version=version,
        champion=champion,
        test_set=test_set,
        test_set_changed=False,
        rule=rule,
        evidence=Evidence(challenger={}, champion=None, baselines={}, slices={}),
        decision=Decision(promote=False, reasons=(reason,), intervals={}),
    )


def _score_challenger(
    name: str, version: Version, test_set: TestSet, rule: PromotionParams, *, takes_hints: bool
) -> tuple[Scores, list[str]]:
    """Its scores, and what is wrong with it; no scores if it can't even be loaded or run.

    ``takes_hints``: whether the champion does.
    """
    try:
        with open_version(name, version.number) as colorizer:
            failures = find_failures(colorizer, max_latency_ms=rule.max_latency_ms)
            if failures:
                return {}, failures
            if takes_hints and not colorizer.model.takes_hints:
                failures = ["takes no hints, and the champion does"]
            failures += find_disobedience(
                colorizer,
                test_set.pairs,
                max_hint_distance=rule.max_hint_distance,
                seed=rule.seed,
            )
            scores = score_model(colorizer, test_set.pairs, st_lpips=test_set.st_lpips)
            return scores, failures
    except PromotionError as error:
        return {}, [str(error)]


def _means(scores: Scores) -> dict[str, float]:
    return {metric: round(float(values.mean()), 6) for metric, values in scores.items()}
