"""A decision in words: the sentence, and the report as Markdown, both from the evidence alone."""

from collections.abc import Mapping
from typing import Any

from refit.judging.gate import Outcome


def sentence(outcome: Outcome, version: int, evidence: Mapping[str, Any]) -> str:
    """The outcome with the numbers that decided it.

    Args:
        outcome: what was decided.
        version: of the candidate.
        evidence: the comparison, the policy and the rival's name, by field.
    """
    shown = (
        f"{evidence['metric']} better by {evidence['difference']:.5f}"
        f" [{evidence['lower']:.5f}, {evidence['upper']:.5f}] than {evidence['rival']}"
        f" on {evidence['rows']:,} rows in {evidence['blocks']} blocks"
    )
    return {
        "promote": f"Version {version} {_earned(evidence)}: {shown}.",
        "reject": f"Version {version} is rejected: {shown}, less than the minimum effect"
        f" {evidence['minimum_effect']:g}.",
        "not proven": f"Version {version} is not proven better: {shown}; a difference of"
        f" {evidence['minimum_detectable']:.5f} could have been seen.",
    }[outcome]


def _earned(evidence: Mapping[str, Any]) -> str:
    if evidence.get("approval") == "person":
        return "has earned promotion and waits for a person"
    return "is promoted to champion"


def markdown(said: str, evidence: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """The report, for the version's description and Prefect's artifact.

    Args:
        said: the sentence.
        evidence: as above.
        measured: metrics.json of the evaluation.
    """
    method = (
        f"Rival: {evidence['rival']}. Paired differences of {evidence['metric']}, resampled by"
        f" block {evidence['resamples']:,} times, {evidence['confidence']:.0%} interval; minimum"
        f" effect {evidence['minimum_effect']:g}; smallest difference this holdout shows four"
        f" times in five {evidence['minimum_detectable']:.5f}."
    )
    models = measured["models"]
    head = f"| Holdout ({measured['rows']:,} rows, {measured['blocks']} blocks) |"
    lines = [f"**{said}**", "", method, "", f"{head} {' | '.join(models)} |"]
    lines.append("| --- |" + " --- |" * len(models))
    for name in next(iter(models.values())):
        cells = [_cell(model[name]) for model in models.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return "not defined"
    return f"{interval['value']:.4f} [{interval['lower']:.4f}, {interval['upper']:.4f}]"
