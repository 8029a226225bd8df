"""The review as one HTML page without scripts; it loads nothing, so it can be read offline.

Everything that comes from data is escaped by Jinja2; the only markup that is inserted as it is are
the drawings. The same review gives the same bytes: nothing in the page is dated or random.
"""

from collections import Counter
from collections.abc import Sequence

from refit.review import charts, formatting, model_card, scales
from refit.review.build import Review
from refit.review.charts import Chart
from refit.review.estimate import Estimate
from refit.review.gain import Gain
from refit.review.gates import Gate
from refit.review.metric_table import LINEAR, MetricRow
from refit.review.scales import Scale
from refit.review.slice_table import SliceRow


def render(review: Review) -> str:
    """Write the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("refit.review"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": formatting.number,
        "interval": formatting.interval,
        "bracket": formatting.bracket,
        "percent": formatting.percent,
        "seconds": formatting.seconds,
        "group": formatting.group,
        "metric": formatting.metric_title,
        "sentence": formatting.sentence,
        "tick": formatting.tick,
        "words": lambda name: name.replace("_", " "),
    }
    drawn = charts.charts(review.chart_data) if review.chart_data else ()
    return environment.get_template("page.html").render(
        review=review,
        contents=_contents(review, drawn),
        command=_command(review),
        charts_title=_and([chart.title for chart in drawn]),
        gate_count=_gate_count(review),
        outcome_mark=formatting.OUTCOME_MARKS.get(review.outcome, ""),
        outcome=formatting.OUTCOMES.get(review.outcome, ""),
        marks=formatting.MARKS,
        linear=LINEAR,
        gain_scale=_gain_scale(review.gain) if review.gain else None,
        detectable_places=formatting.places_of([review.gain.estimate]) if review.gain else 0,
        gate_scale=_gate_scale,
        gate_places=_gate_places,
        distinct=_distinct,
        metric_scale=_metric_scale,
        metric_places=_metric_places,
        slice_scale=scales.scale((row.gain for row in review.slices), (0.0,)),
        slice_metric_scale=scales.scale(row.metric for row in review.slices),
        slice_places=_slice_places(review.slices),
        gain_places=formatting.places_of([row.gain for row in review.slices], (0.0,)),
        charts=[(chart, Markup(chart.svg)) for chart in drawn],  # noqa: S704 - drawn by charts
        card=model_card.card(review),
        longest=max((t.version or 0.0 for t in review.timings), default=0.0),
    )


def _contents(review: Review, drawn: Sequence[Chart]) -> list[tuple[str, str]]:
    """Anchor and title of each section that the page has."""
    sections = (
        ("verdict", "Verdict", True),
        ("gates", "Gates", review.groups),
        ("metrics", "Side by side", review.metrics),
        ("charts", _and([chart.title for chart in drawn]), drawn),
        ("slices", "Slices", review.slices),
        ("changes", "What changed", True),
        ("data", "Data", review.tables),
        ("lineage", "Lineage", True),
        ("timing", "Timing", review.timings),
        ("card", "Model card", True),
    )
    return [(anchor, title) for anchor, title, content in sections if content]


def _and(words: Sequence[str]) -> str:
    """`Calibration and ROC`: later words in lower case unless they are acronyms."""
    return " and ".join([*words[:1], *(w if w.isupper() else w.lower() for w in words[1:])])


def _command(review: Review) -> str:
    if review.kind != "comparison":
        return f"review {review.version}"
    return f"compare {review.labels[1].split()[-1]} {review.version}"


def _gate_count(review: Review) -> str:
    """`5 pass, 1 fail`: how many of each result."""
    counts = Counter(gate.result for _, gates in review.groups for gate in gates)
    return ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))


def _gain_scale(gain: Gain) -> Scale | None:
    return scales.scale([gain.estimate], (0.0, gain.minimum_effect))


def _gate_scale(gate: Gate) -> Scale | None:
    """A scale that shows the interval and the limit; None if there is nothing to draw."""
    if gate.estimate.value is None or (gate.limit is None and gate.estimate.lower is None):
        return None
    return scales.scale([gate.estimate], (gate.limit,))


def _gate_places(gate: Gate) -> int | None:
    return formatting.places_of([gate.estimate], (gate.limit,))


def _metric_scale(row: MetricRow) -> Scale | None:
    return scales.scale(estimate for _, estimate in row.models)


def _distinct(row: MetricRow) -> tuple[tuple[str, Estimate], ...]:
    """The estimate of each model, or a single one if it describes the rows and not a model."""
    values = {estimate.value for _, estimate in row.models}
    if row.better or len(values) > 1 or len(row.models) < 2:
        return row.models
    return (("of the rows", row.models[0][1]),)


def _metric_places(row: MetricRow) -> int | None:
    return formatting.places_of([estimate for _, estimate in row.models])


def _slice_places(rows: tuple[SliceRow, ...]) -> int | None:
    return formatting.places_of([row.metric for row in rows])
