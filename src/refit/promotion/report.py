"""A decision in words: the sentence, and the report as Markdown, both from the evidence alone."""

from collections.abc import Mapping
from typing import Any

from refit.promotion.gate import Outcome

WAITING = "not enough evidence"
MOST_NAMED = 3
"""Gates that the sentence names; the table has them all."""
WRITTEN = {"gates", "seed_deviation"}
"""What an earlier release's evidence lacks; of such a decision the sentence is told."""


def sentence(outcome: Outcome, version: int, evidence: Mapping[str, Any]) -> str:
    """The outcome with the numbers that decided it.

    Args:
        outcome: what was decided.
        version: of the candidate.
        evidence: the comparison, the policy, the gates and the rival's name, by field.
    """
    shown = _compared(evidence)
    if outcome == "promote":
        return f"Version {version} {_earned(evidence)}: {shown}."
    failed, waiting = _names(evidence, "fail"), _names(evidence, WAITING)
    if outcome == "reject":
        short = f", short of the minimum effect {evidence['minimum_effect']:g}"
        lacking = short if "improvement" in failed else ""
        others = _listed([name for name in failed if name != "improvement"])
        return f"Version {version} is rejected: {shown}{lacking}{_also('failed', others)}."
    detectable = evidence["minimum_detectable"]
    seen = "" if detectable is None else f"; a difference of {detectable:.5f} could have been seen"
    others = _listed([name for name in waiting if name != "improvement"])
    return f"Version {version} is not proven better: {shown}{seen}{_also('no proof of', others)}."


def _compared(evidence: Mapping[str, Any]) -> str:
    if evidence["difference"] is None:
        return f"it could not be compared with {evidence['rival']}"
    found = [evidence[name] for name in ("difference", "lower", "upper")]
    word = "better"
    if found[0] < 0:  # said the other way round: the loss, with its interval
        word, found = "worse", [-found[0], -found[2], -found[1]]
    return (
        f"{evidence['metric']} {word} by {found[0]:.5f}"
        f" [{found[1]:.5f}, {found[2]:.5f}] than {evidence['rival']}"
        f" on {evidence['rows']:,} rows in {evidence['blocks']} blocks"
    )


def _names(evidence: Mapping[str, Any], result: str) -> list[str]:
    """Gates of that result which count."""
    return [g["name"] for g in evidence["gates"] if g["result"] == result and g["binding"]]


def _listed(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    shown = ", ".join(names[:MOST_NAMED])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _also(verb: str, names: str) -> str:
    return f"; {verb} {names}" if names else ""


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
    if not evidence.keys() >= WRITTEN:
        return "\n".join([f"**{said}**", "", *_models(measured)]) + "\n"
    detectable = evidence["minimum_detectable"]
    method = (
        f"Rival: {evidence['rival']}. Paired differences of {evidence['metric']} (lower is"
        f" better), resampled by block {evidence['resamples']:,} times,"
        f" {evidence['confidence']:.0%} interval, with a deviation of"
        f" {evidence['seed_deviation']:g} for each network's seed; minimum effect"
        f" {evidence['minimum_effect']:g}."
    )
    if detectable is not None:
        method += f" This holdout shows a true gain of {detectable:.5f} four times in five."
    lines = [f"**{said}**", "", method, "", *_gates(evidence["gates"]), "", *_models(measured)]
    return "\n".join(lines) + "\n"


def _gates(gates: list[Mapping[str, Any]]) -> list[str]:
    lines = ["| Gate | Result | Measured | Limit | Rows | What was found |"]
    lines.append("| --- | --- | --- | --- | ---: | --- |")
    for gate in gates:
        cells = (
            gate["name"],
            gate["result"] if gate["binding"] else f"({gate['result']})",
            _interval(gate),
            _number(gate["limit"]),
            "" if gate["rows"] is None else f"{gate['rows']:,}",
            gate["said"],
        )
        lines.append(f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |")
    return lines


def _interval(gate: Mapping[str, Any]) -> str:
    if gate["lower"] is None or gate["upper"] is None:
        return _number(gate["measured"])
    bounds = f"[{_number(gate['lower'])}, {_number(gate['upper'])}]"
    return f"{_number(gate['measured'])} {bounds}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _models(measured: Mapping[str, Any]) -> list[str]:
    models = measured["models"]
    head = f"| Holdout ({measured['rows']:,} rows, {measured['blocks']} blocks) |"
    lines = [f"{head} {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
    for name in next(iter(models.values())):
        cells = [_cell(model[name]) for model in models.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return "not defined"
    return f"{interval['value']:.4f} [{interval['lower']:.4f}, {interval['upper']:.4f}]"
