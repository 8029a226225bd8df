"""The model card: what the model is for, what it is based on, and where its limits are.

The headings follow Mitchell et al., "Model Cards for Model Reporting" (2019). The text is
written from the evidence, except for the dataset's description (refit.dataset_card).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from refit.registry.artifacts import DESCRIPTION_LIMIT
from refit.review.build import Review
from refit.review.data_report import SHIFT
from refit.review.formatting import interval, metric_title, percent, places_of
from refit.review.lineage import UNGRADED

MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")
LISTED = 8
"""At most so many drifted columns, small slices or gates are named; the page lists all."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of text; the first column names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the card."""

    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    grid: Grid | None = None
    command: str = ""


def card(review: Review) -> tuple[Section, ...]:
    """The card's sections; empty ones are left out."""
    sections = (
        Section(title="Intended use", paragraphs=_use(review)),
        Section(title="Data", paragraphs=_data(review)),
        Section(title="Metrics", paragraphs=_measurement(review), grid=_metrics(review)),
        Section(title="By slice", grid=_slices(review)),
        Section(title="Limits", points=tuple(_limits(review))),
        Section(title="Environment", points=_environment(review)),
        Section(
            title="How to reproduce it",
            paragraphs=_reproduction(review),
            command=f"refit reproduce {review.version}",
        ),
    )
    return tuple(s for s in sections if s.paragraphs or s.points or s.grid or s.command)


def markdown(review: Review) -> str:
    """The whole card as Markdown; text from data is escaped."""
    head = f"# Model card: {escape(review.dataset)}, version {review.version}\n"
    verdict = f"**{escape(review.sentence)}**\n"
    return "\n".join([head, verdict, *(_markdown(section) for section in card(review))])


def description(review: Review) -> str:
    """The verdict, and the sections of the card that fit into MLflow's database.

    The sections that do not fit are in the card's file.
    """
    text = f"**{escape(review.sentence)}**\n\n{_gates(review)}"
    end = f"\nThe whole card: `{file_name(review.version)}` of the run.\n"
    for section in card(review):
        part = "\n" + _markdown(section)
        if len(text) + len(part) + len(end) <= DESCRIPTION_LIMIT:
            text += part
    return text + end


def _gates(review: Review) -> str:
    """How many gates passed, and the names of the others."""
    gates = [gate for _, group in review.groups for gate in group]
    others = [f"{gate.name}: {gate.result}" for gate in gates if gate.result != "pass"]
    if not gates:
        return ""
    passed = f"{len(gates) - len(others)} of {len(gates)} gates passed"
    return escape("; ".join([passed, _few(others)] if others else [passed])) + ".\n"


def file_name(version: int) -> str:
    """The card's name among the artifacts of the version's run."""
    return f"model-card-{version}.md"


def escape(text: str) -> str:
    """Escape every character that has a meaning in Markdown or HTML."""
    return MARKUP.sub(r"\\\1", text).replace("\n", " ")


def _use(review: Review) -> tuple[str, ...]:
    about = review.about
    texts = (about.title, about.intended_use)
    return tuple(text for text in texts if text) or ("The dataset does not describe it.",)


def _data(review: Review) -> tuple[str, ...]:
    lines = [review.about.source] if review.about.source else []
    if review.target:
        lines.append(
            f"Predicts {review.target} ({review.task}) from {len(review.features)} columns:"
            f" {', '.join(review.features)}."
        )
    if review.tables:
        tables = "; ".join(
            f"{table.name} {table.rows:,} rows"
            + (f", {table.partitions}" if table.partitions else "")
            for table in review.tables
        )
        lines.append(f"Raw tables: {tables}.")
    if review.holdout:
        lines.append(_evaluated(review))
    return tuple(lines)


def _evaluated(review: Review) -> str:
    if not review.is_release:
        return f"Evaluated on the newest partitions, unseen in training: {review.holdout}."
    return (
        f"Evaluated is {review.evaluated}, on the newest partitions, unseen in its training:"
        f" {review.holdout}. The model that goes live has learnt them."
    )


def _measurement(review: Review) -> tuple[str, ...]:
    if not review.metrics:
        return ()
    where = (
        f"of the holdout ({review.holdout})"
        if review.same_rows
        else "of the holdout of each version"
    )
    text = f"Metrics {where}, with intervals that resample whole blocks of time."
    return (text, *review.release)


def _metrics(review: Review) -> Grid | None:
    if not review.metrics:
        return None
    models = [name for name, _ in review.metrics[0].models]
    rows = []
    for row in review.metrics:
        estimates = [estimate for _, estimate in row.models]
        places = places_of(estimates)
        rows.append((row.title, *(interval(estimate, places) for estimate in estimates)))
    return Grid(head=("Metric", *models), rows=tuple(rows))


def _slices(review: Review) -> Grid | None:
    if not review.slices:
        return None
    places = places_of([row.metric for row in review.slices])
    return Grid(
        head=("Slice", "Rows", metric_title(review.slice_metric)),
        rows=tuple(
            (f"{r.column} = {r.value}", f"{r.rows:,}", interval(r.metric, places))
            for r in review.slices
        ),
    )


def _limits(review: Review) -> Iterator[str]:
    yield from review.about.limits
    small = [f"{row.column} = {row.value}" for row in review.slices if row.small]
    if small:
        yield f"Too few rows for a reliable figure: {_few(small)}."
    drifted = [
        f"{table.name}.{column.column} (PSI {column.psi:.2f})"
        for table in review.tables
        for column in table.drift
        if column.psi >= SHIFT
    ]
    if drifted:
        yield f"The newest rows differ from the earlier ones in {_few(drifted)}."
    for table in review.tables:
        for count, treatment in (
            (table.removed, "left out"),
            (table.emptied, "kept without their outcomes"),
        ):
            if count:
                rows = f"{count:,} row{'s' * (count > 1)} of {table.name}"
                verb = "were" if count > 1 else "was"
                share = percent(table.share(count))
                yield f"{rows} ({share}) broke a rule and {verb} {treatment}."
    yield from review.release
    if review.grade == UNGRADED:
        yield "It was not reproduced yet: that it can be is a promise, not a measurement."
    for piece in review.missing:
        yield f"Not kept: {piece}."


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest


def _environment(review: Review) -> tuple[str, ...]:
    wanted = ("Python", "Packages", "Not as pinned", "Processor", "Instructions", "Determinism")
    lineage = dict(review.lineage)
    return tuple(f"{name}: {lineage[name]}" for name in wanted if name in lineage)


def _reproduction(review: Review) -> tuple[str, ...]:
    lineage = dict(review.lineage)
    lines = [f"Grade of reproducibility: {review.grade}."]
    if "Commit" in lineage:
        lines.append(f"Commit {lineage['Commit']}, kept as {lineage['Kept as']}.")
    return tuple(lines)


def _markdown(section: Section) -> str:
    lines = [f"## {section.title}", ""]
    for text in section.paragraphs:
        lines += [escape(text), ""]
    if section.points:
        lines += [*(f"- {escape(text)}" for text in section.points), ""]
    if section.grid is not None:
        lines += [_row(section.grid.head), "| --- |" + " ---: |" * (len(section.grid.head) - 1)]
        lines += [*map(_row, section.grid.rows), ""]
    if section.command:
        lines += ["```sh", section.command, "```", ""]
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(escape, cells))} |"
