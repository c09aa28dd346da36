"""A comparison and a decision as text: a report in Markdown, and one line."""

from typing import TYPE_CHECKING

from pipeline_steps.scores.definitions import METRIC_TITLES, measured

if TYPE_CHECKING:
    from flows.promotion.judgement import Judgement
    from flows.promotion.ledger import Entry


def summarize_decision(name: str, entry: "Entry") -> str:
    """What a decision about the registered model did, on one line."""
    if entry.action == "refused":
        champion = entry.champion
        stays = f"version {champion} stays champion" if champion else "there is no champion"
        return f"refused: {name} version {entry.version}, {stays}: {entry.reason}"
    before = f" (before: version {entry.champion_before})" if entry.champion_before else ""
    return f"{entry.action}: {name} version {entry.champion} is champion{before}: {entry.reason}"


def render_report(judgement: "Judgement") -> str:
    """A judgement as Markdown."""
    against = (
        f"against the champion, version {judgement.champion}"
        if judgement.champion
        else "where there is no champion yet"
    )
    keep = "keep the champion" if judgement.champion else "refused"
    verdict = "promote" if judgement.decision.promote else keep
    lines = [
        f"# Version {judgement.version.number} {against}",
        "",
        f"**Verdict: {verdict}**",
        "",
        *_other_data(judgement),
        *(f"- {reason}" for reason in judgement.decision.reasons),
        "",
        f"{len(judgement.test_set.pairs)} test pairs, fingerprint"
        f" `{judgement.test_set.fingerprint[:16]}`.",
    ]
    if judgement.test_set_changed:
        lines.append(
            "**The test set has changed** since the champion was promoted; both were scored on the"
            " new one."
        )
    return "\n".join([*lines, "", *_means(judgement), *_intervals(judgement)]) + "\n"


def _other_data(judgement: "Judgement") -> list[str]:
    """A remark if the version was trained on other data than the test pairs are of."""
    trained_on = judgement.version.tags.get("data_fingerprint")
    tested_on = judgement.test_set.data_fingerprint
    if None in (trained_on, tested_on) or trained_on == tested_on:
        return []
    return [
        f"**Version {judgement.version.number} was trained on other data** than these test pairs"
        " belong to; if you mean the current model, `make register` makes it the candidate.",
        "",
    ]


def _means(judgement: "Judgement") -> list[str]:
    models = judgement.metrics
    metrics = measured(next(iter(models.values()), {}))
    header = "| mean | " + " | ".join(METRIC_TITLES[metric] for metric in metrics) + " |"
    rows = [
        f"| {model.replace('_', ' ')} | "
        + " | ".join(f"{values[metric]:.4f}" for metric in metrics)
        + " |"
        for model, values in models.items()
    ]
    return [header, "|---" * (len(metrics) + 1) + "|", *rows]


def _intervals(judgement: "Judgement") -> list[str]:
    if not judgement.decision.intervals:
        return []
    rows = [
        f"| {METRIC_TITLES[metric]} | {interval.mean:+.4f} | {interval.low:+.4f} |"
        f" {interval.high:+.4f} |"
        for metric, interval in judgement.decision.intervals.items()
    ]
    return [
        "",
        "Improvement over the champion, picture by picture (above 0 is better):",
        "",
        "| | mean | low | high |",
        "|---|---|---|---|",
        *rows,
    ]
