"""Print the review in a terminal: as wide as the terminal, without colours in a pipe."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from refit.review.build import Review
from refit.review.changes import Changes, Difference
from refit.review.formatting import (
    MARKS,
    bracket,
    group,
    interval,
    metric_title,
    number,
    percent,
    places_of,
    seconds,
)
from refit.review.gates import Gate

COLOURS = {"pass": "green", "fail": "red", "not enough evidence": "yellow"}


def print_review(review: Review, console: Console) -> None:
    """Print the review; text from data is never read as markup."""
    for part in _parts(review):
        console.print(part)


def _parts(review: Review) -> Iterator[RenderableType]:
    yield Text(f"{review.dataset}, {review.labels[0]} against {review.labels[1]}", style="dim")
    yield Text(review.sentence, style="bold")
    yield Text(f"{review.status}. Reproducibility: {review.grade}.")
    for statement in review.release:
        yield Text(statement, style="yellow")
    if review.gain and review.gain.minimum_detectable is not None:
        smallest = number(review.gain.minimum_detectable, places_of([review.gain.estimate]))
        yield Text(f"This holdout can show gains from {smallest}.")
    if review.missing:
        yield Text(f"Missing: {'; '.join(review.missing)}.", style="yellow")
    if review.groups:
        yield from _headed("Gates", _gates(review))
    if review.metrics:
        rows = "on the same rows" if review.same_rows else "each on its own holdout"
        yield from _headed(f"Side by side, {rows}", _metrics(review))
    if review.slices:
        yield from _headed("Slices", _slices(review))
    if review.changes:
        yield from _headed(f"What changed since {review.changes.before}", _changes(review.changes))
    if review.tables:
        yield from _headed("Data", _data(review))
    yield from _headed("Lineage", _terms(review))
    if review.timings:
        timings = ", ".join(f"{row.stage} {seconds(row.version)}" for row in review.timings)
        yield from _headed("Timing", Text(timings))


def _headed(heading: str, body: RenderableType) -> Iterator[RenderableType]:
    yield Text(f"\n{heading}", style="bold")
    yield Padding(body, (0, 0, 0, 2))


def _grid(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def _gates(review: Review) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for name, gates in review.groups:
        table.add_row("", Text(group(name), style="underline"))
        for gate in gates:
            colour = COLOURS[gate.result]
            table.add_row(Text(MARKS[gate.result], style=colour), _gate(gate, colour))
    return table


def _gate(gate: Gate, colour: str) -> Text:
    """One gate as a line: `improvement, pass: ... [0.0003, 0.0026], limit 0.001, 53,991 rows`."""
    places = places_of([gate.estimate], (gate.limit,))
    details = [f"{gate.finding} {bracket(gate.estimate, places)}".strip()]
    if gate.limit is not None:
        details.append(f"limit {number(gate.limit, None)}")
    if gate.rows is not None:
        details.append(f"{gate.rows:,} rows")
    name = gate.name if gate.binding else f"{gate.name} (for information)"
    return Text.assemble((name, "bold"), ", ", (gate.result, colour), f": {', '.join(details)}")


def _metrics(review: Review) -> Table:
    models = [name for name, _ in review.metrics[0].models]
    table = _grid("Metric", *models, right=frozenset(models))
    for row in review.metrics:
        places = places_of([estimate for _, estimate in row.models])
        cells = (f"{number(e.value, places)}\n{bracket(e, places)}" for _, e in row.models)
        table.add_row(row.title, *cells)
    return table


def _slices(review: Review) -> Table:
    metric = metric_title(review.slice_metric)
    table = _grid("Slice", "Rows", metric, "Better by", right=frozenset({"Rows"}))
    places = places_of([row.metric for row in review.slices])
    gains = places_of([row.gain for row in review.slices], (0.0,))
    for row in review.slices:
        table.add_row(
            Text(f"{row.column} = {row.value}", style="dim" if row.small else ""),
            f"{row.rows:,}",
            interval(row.metric, places),
            interval(row.gain, gains, signed=True),
        )
    return table


def _changes(changes: Changes) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("data", Text(_partitions(changes)))
    table.add_row("code", Text(_code(changes)))
    for name, rows in (
        ("parameters", changes.params),
        ("packages", changes.packages),
        ("machine", changes.machine),
    ):
        table.add_row(name, Text(_differences(rows)))
    return table


def _partitions(changes: Changes) -> str:
    lines = [f"{verb} {path}" for verb, path in changes.partitions]
    lines += [f"{row.name} {row.before} -> {row.after} rows" for row in changes.rows]
    return ", ".join(lines) or "the same, byte for byte"


def _code(changes: Changes) -> str:
    code = changes.code
    if code.files is None:
        return f"Git does not have both commits: {code.before[:12]}, {code.after[:12]}"
    lines = [f"{commit[:10]} {subject}" for commit, subject in code.commits or ()]
    lines += [f"{verb} {path}" for verb, path in code.files]
    return "\n".join(lines) or "the same"


def _differences(rows: tuple[Difference, ...]) -> str:
    lines = (f"{row.name} {row.before or 'none'} -> {row.after or 'none'}" for row in rows)
    return ", ".join(lines) or "the same"


def _data(review: Review) -> Table:
    table = _grid("Table", "Partitions", "Rows", "Removed", "Emptied", "Drift (PSI)")
    for report in review.tables:
        drifted = [f"{d.column} {d.psi:.2f}" for d in report.drift if d.word != "stable"]
        table.add_row(
            Text(report.name),
            Text(report.partitions),
            f"{report.rows:,}",
            *(f"{n:,} ({percent(report.share(n))})" for n in (report.removed, report.emptied)),
            Text(", ".join(drifted) or "none"),
        )
    return table


def _terms(review: Review) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for term, value in review.lineage:
        table.add_row(term, Text(value))
    return table
