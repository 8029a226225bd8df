"""A decision in words: the sentence, and the report as Markdown, both from the evidence alone."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from refit.core import printable
from refit.evaluation import release
from refit.evaluation.paired_bootstrap import Comparison
from refit.promotion.gate import Gate, Outcome, Result
from refit.promotion.policy import PromoteParams

MOST_NAMED = 3
"""Gates that the sentence names at most; the table has them all."""
EVIDENCE = {"rival", "gates", *(f.name for f in (*fields(Comparison), *fields(PromoteParams)))}
"""Keys of the evidence that are read here."""
GATE = {field.name for field in fields(Gate)}


def readable(evidence: Mapping[str, Any]) -> bool:
    """Whether the evidence has every key that is read here; another checkout may write others."""
    return evidence.keys() >= EVIDENCE and all(gate.keys() >= GATE for gate in evidence["gates"])


def sentence(outcome: Outcome, version: int, evidence: Mapping[str, Any]) -> str:
    """The outcome with the numbers that decided it, and whether they are those of a twin.

    Args:
        outcome: of the decision.
        version: of the candidate.
        evidence: the comparison, the policy, the gates and the rival's name, by key. `release` is
            there only where a release fit goes live, and `rival_twin` where one is live.
    """
    decided = _decided(outcome, version, evidence)
    if "release" not in evidence:
        return decided
    verb = "goes" if outcome == "promote" else "would go"
    return f"{decided} {release.sentence(verb=verb)}"


def _decided(outcome: Outcome, version: int, evidence: Mapping[str, Any]) -> str:
    comparison = _comparison(evidence)
    if outcome == "promote":
        return f"Version {version} {_promoted(evidence)}: {comparison}."
    failed, unproven = _names(evidence, "fail"), _names(evidence, "not enough evidence")
    if outcome == "reject":
        short = ""
        if "improvement" in failed:
            short = f", short of the minimum effect {evidence['minimum_effect']:g}"
        return f"Version {version} is rejected: {comparison}{short}{_others('failed', failed)}."
    power = ""
    if evidence["minimum_detectable"] is not None:
        power = f"; a difference of {evidence['minimum_detectable']:.5f} could have been proven"
    others = _others("no proof of", unproven)
    return f"Version {version} is not proven better: {comparison}{power}{others}."


def _comparison(evidence: Mapping[str, Any]) -> str:
    if evidence["difference"] is None:
        return f"it could not be compared with {evidence['rival']}"
    word = "better"
    difference, lower, upper = (evidence[key] for key in ("difference", "lower", "upper"))
    if difference < 0:  # stated as a loss, so the bounds change sign and order
        word, difference, lower, upper = "worse", -difference, -upper, -lower
    return (
        f"{evidence['metric']} {word} by {difference:.5f} [{lower:.5f}, {upper:.5f}] than"
        f" {evidence['rival']} on {evidence['rows']:,} rows in {evidence['blocks']} blocks"
    )


def _promoted(evidence: Mapping[str, Any]) -> str:
    if evidence["approval"] == "none":
        return "is promoted to champion"
    return "has earned promotion and waits for a person"


def _names(evidence: Mapping[str, Any], result: Result) -> list[str]:
    """The binding gates with this result."""
    return [g["name"] for g in evidence["gates"] if g["result"] == result and g["binding"]]


def _others(verb: str, names: Sequence[str]) -> str:
    """The gates besides the improvement, of which the comparison tells already."""
    others = [name for name in names if name != "improvement"]
    if not others:
        return ""
    rest = len(others) - MOST_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"; {verb} {', '.join(others[:MOST_NAMED])}{more}"


def markdown(sentence: str, evidence: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The report, for the version's description and Prefect's artifact.

    Args:
        sentence: of the decision.
        evidence: as above.
        metrics: metrics.json of the evaluation.
    """
    twin = ", its twin, trained without the holdout" if "rival_twin" in evidence else ""
    method = (
        f"Rival: {_text(evidence['rival'])}{twin}."
        f" Paired differences of {_text(evidence['metric'])} (lower is better), resampled by block"
        f" {evidence['resamples']:,} times, {evidence['confidence']:.0%} interval, with a deviation"
        f" of {evidence['seed_deviation']:g} for the seed of each trained model; minimum effect"
        f" {evidence['minimum_effect']:g}."
    )
    detectable = evidence["minimum_detectable"]
    if detectable is not None:
        method += f" This holdout proves a true gain of {detectable:.5f} four times in five."
    if "release" in evidence:
        distance = release.distance_words(evidence["release"])
        method += f" All metrics are those of the twin of the model that goes live. {distance}"
    lines = [
        f"**{_text(sentence)}**",
        "",
        method,
        "",
        *_gates(evidence["gates"]),
        "",
        *_models(metrics),
    ]
    return "\n".join(lines) + "\n"


def _gates(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| Gate | Result | Measured | Limit | Rows | Summary |"]
    lines.append("| --- | --- | --- | --- | ---: | --- |")
    for gate in gates:
        cells = (
            gate["name"],
            gate["result"] if gate["binding"] else f"({gate['result']})",
            _interval(gate),
            _number(gate["limit"]),
            "" if gate["rows"] is None else f"{gate['rows']:,}",
            gate["summary"],
        )
        lines.append(f"| {' | '.join(_text(str(cell).replace('|', '/')) for cell in cells)} |")
    return lines


def _text(text: str) -> str:
    """Text from data, the ledger or the registry, which must not act as Markdown."""
    return printable.markdown(str(text))


def _interval(gate: Mapping[str, Any]) -> str:
    if gate["lower"] is None or gate["upper"] is None:
        return _number(gate["measured"])
    bounds = f"[{_number(gate['lower'])}, {_number(gate['upper'])}]"
    return f"{_number(gate['measured'])} {bounds}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _models(metrics: Mapping[str, Any]) -> list[str]:
    models = metrics["models"]
    head = f"| Holdout ({metrics['rows']:,} rows, {metrics['blocks']} blocks) |"
    lines = [f"{head} {' | '.join(map(_text, models))} |", "| --- |" + " --- |" * len(models)]
    for name in next(iter(models.values())):
        cells = [_metric(model[name]) for model in models.values()]
        lines.append(f"| {_text(name)} | {' | '.join(cells)} |")
    return lines


def _metric(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return "not defined"
    return f"{interval['value']:.4f} [{interval['lower']:.4f}, {interval['upper']:.4f}]"
