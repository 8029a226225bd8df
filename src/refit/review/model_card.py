"""The model card, written from evidence: what the model is for, on what it rests, where it ends.

The headings follow Mitchell et al., "Model Cards for Model Reporting" (2019). Nothing in it is
written by hand but what the dataset says of itself (refit.dataset_card).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from refit.registry.artifacts import DESCRIPTION_LIMIT
from refit.review.build import Review
from refit.review.formatting import interval, percent, places_of
from refit.review.sections import SHIFT, UNGRADED

MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")
LISTED = 8
"""Drifted columns and small slices that are named; the page has them all."""


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
    """The card's sections; those that nobody has anything to say for are left out."""
    found = (
        Section(title="Intended use", paragraphs=_use(review)),
        Section(title="Data", paragraphs=_data(review)),
        Section(title="Metrics", paragraphs=_measured(review), grid=_metrics(review)),
        Section(title="By slice", grid=_slices(review)),
        Section(title="Limits", points=tuple(_limits(review))),
        Section(title="Environment", points=_environment(review)),
        Section(
            title="How to make it again",
            paragraphs=_again(review),
            command=f"refit reproduce {review.version}",
        ),
    )
    return tuple(s for s in found if s.paragraphs or s.points or s.grid or s.command)


def markdown(review: Review) -> str:
    """The whole card as Markdown; what comes from data is escaped."""
    head = f"# Model card: {escape(review.dataset)}, version {review.version}\n"
    said = f"**{escape(review.sentence)}**\n"
    return "\n".join([head, said, *(_markdown(section) for section in card(review))])


def description(review: Review) -> str:
    """The verdict and the card as far as MLflow keeps it: sections that are too long are left out.

    What is left out stands in the card's own file and in that of the decision.
    """
    text = f"**{escape(review.sentence)}**\n\n{_gates(review)}"
    rest = f"\nThe whole card: `{file_name(review.version)}` of the run.\n"
    for section in card(review):
        part = "\n" + _markdown(section)
        if len(text) + len(part) + len(rest) <= DESCRIPTION_LIMIT:
            text += part
    return text + rest


def _gates(review: Review) -> str:
    """How many gates passed, and each of the others by name."""
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
    """Text with every character escaped that Markdown or HTML would take for markup."""
    return MARKUP.sub(r"\\\1", text).replace("\n", " ")


def _use(review: Review) -> tuple[str, ...]:
    about = review.about
    said = (about.title, about.intended_use)
    return tuple(text for text in said if text) or ("The dataset does not say.",)


def _data(review: Review) -> tuple[str, ...]:
    lines = [review.about.source] if review.about.source else []
    if review.target:
        lines.append(
            f"Predicts {review.target} ({review.task}) from {len(review.features)} columns:"
            f" {', '.join(review.features)}."
        )
    if review.tables:
        told = "; ".join(
            f"{table.name} {table.rows:,} rows"
            + (f", {table.partitions}" if table.partitions else "")
            for table in review.tables
        )
        lines.append(f"Raw tables: {told}.")
    if review.holdout:
        lines.append(f"Judged on the newest partitions, unseen in training: {review.holdout}.")
    return tuple(lines)


def _measured(review: Review) -> tuple[str, ...]:
    if not review.metrics:
        return ()
    where = f"of the holdout ({review.holdout})" if review.same_rows else "of each one's holdout"
    return (f"Metrics {where}, with intervals that resample whole blocks of time.",)


def _metrics(review: Review) -> Grid | None:
    if not review.metrics:
        return None
    models = [name for name, _ in review.metrics[0].models]
    rows = []
    for row in review.metrics:
        estimates = [found for _, found in row.models]
        places = places_of(estimates)
        rows.append((row.title, *(interval(found, places) for found in estimates)))
    return Grid(head=("Metric", *models), rows=tuple(rows))


def _slices(review: Review) -> Grid | None:
    if not review.slices:
        return None
    places = places_of([row.metric for row in review.slices])
    return Grid(
        head=("Slice", "Rows", review.slice_metric),
        rows=tuple(
            (f"{r.column} = {r.value}", f"{r.rows:,}", interval(r.metric, places))
            for r in review.slices
        ),
    )


def _limits(review: Review) -> Iterator[str]:
    yield from review.about.limits
    small = [f"{row.column} = {row.value}" for row in review.slices if row.small]
    if small:
        yield f"Too few rows to be sure of: {_few(small)}."
    drifted = [
        f"{table.name}.{column.column} (PSI {column.psi:.2f})"
        for table in review.tables
        for column in table.drift
        if column.psi >= SHIFT
    ]
    if drifted:
        yield f"The newest rows are unlike the earlier ones in {_few(drifted)}."
    for table in review.tables:
        if table.quarantined:
            share = percent(table.quarantined / table.rows)
            yield f"{table.quarantined:,} rows of {table.name} ({share}) broke a rule: left out."
    if dict(review.lineage).get("Reproducibility") == UNGRADED:
        yield "Nobody has made it again yet, so that it can be is promised, not measured."
    for piece in review.missing:
        yield f"Not kept: {piece}."


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest


def _environment(review: Review) -> tuple[str, ...]:
    wanted = ("Python", "Packages", "Not as pinned", "Processor", "Instructions", "Determinism")
    told = dict(review.lineage)
    return tuple(f"{name}: {told[name]}" for name in wanted if name in told)


def _again(review: Review) -> tuple[str, ...]:
    told = dict(review.lineage)
    lines = [f"Grade of reproducibility: {told['Reproducibility']}."]
    if "Commit" in told:
        lines.append(f"Commit {told['Commit']}, kept as {told['Kept as']}.")
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
