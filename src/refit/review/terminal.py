"""The review in a terminal: as wide as it is, plain where it is piped."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from refit.review.build import Gate, Review
from refit.review.changes import Changes, Difference
from refit.review.comparison import title
from refit.review.formatting import MARKS, bracket, group, interval, number, percent, places_of
from refit.review.formatting import seconds as in_seconds

COLOURS = {"pass": "green", "fail": "red", "not enough evidence": "yellow"}


def print_review(review: Review, console: Console) -> None:
    """Print the review. Text from data is printed as it is, never read as markup."""
    for part in _parts(review):
        console.print(part)


def _parts(review: Review) -> Iterator[RenderableType]:
    yield Text(f"{review.dataset}, {review.labels[0]} against {review.labels[1]}", style="dim")
    yield Text(review.sentence, style="bold")
    yield Text(f"{review.standing}. Reproducibility: {_grade(review)}.")
    if review.gain and review.gain.minimum_detectable is not None:
        least = number(review.gain.minimum_detectable, places_of([review.gain.estimate]))
        yield Text(f"This holdout could have seen gains from {least}.")
    if review.missing:
        yield Text(f"Not kept: {'; '.join(review.missing)}.", style="yellow")
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
        told = ", ".join(f"{row.stage} {in_seconds(row.own)}" for row in review.timings)
        yield from _headed("Timing", Text(told))


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
            colour = COLOURS.get(gate.result, "")
            table.add_row(Text(MARKS.get(gate.result, "·"), style=colour), _gate(gate, colour))
    return table


def _gate(gate: Gate, colour: str) -> Text:
    """One gate as a line: `improvement, pass: ... [0.0003, 0.0026], limit 0.001, 53,991 rows`."""
    places = places_of([gate.estimate], (gate.limit,))
    told = [f"{gate.said} {bracket(gate.estimate, places)}".strip()]
    if gate.limit is not None:
        told.append(f"limit {number(gate.limit, None)}")
    if gate.rows is not None:
        told.append(f"{gate.rows:,} rows")
    name = gate.name if gate.binding else f"{gate.name} (for information)"
    return Text.assemble((name, "bold"), ", ", (gate.result, colour), f": {', '.join(told)}")


def _metrics(review: Review) -> Table:
    models = [name for name, _ in review.metrics[0].models]
    table = _grid("Metric", *models, right=frozenset(models))
    for row in review.metrics:
        places = places_of([found for _, found in row.models])
        cells = (f"{number(e.value, places)}\n{bracket(e, places)}" for _, e in row.models)
        table.add_row(row.title, *cells)
    return table


def _slices(review: Review) -> Table:
    metric = title(review.slice_metric)
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
    told = [f"{verb} {path}" for verb, path in changes.partitions]
    told += [f"{row.name} {row.before} -> {row.after} rows" for row in changes.rows]
    return ", ".join(told) or "the same, byte for byte"


def _code(changes: Changes) -> str:
    code = changes.code
    if code.files is None:
        return f"Git has not both commits here: {code.before[:12]}, {code.after[:12]}"
    told = [f"{commit[:10]} {subject}" for commit, subject in code.commits or ()]
    told += [f"{verb} {path}" for verb, path in code.files]
    return "\n".join(told) or "the same"


def _differences(rows: tuple[Difference, ...]) -> str:
    told = (f"{row.name} {row.before or 'none'} -> {row.after or 'none'}" for row in rows)
    return ", ".join(told) or "the same"


def _data(review: Review) -> Table:
    table = _grid("Table", "Partitions", "Rows", "In quarantine", "Moved (PSI)")
    for found in review.tables:
        moved = [f"{d.column} {d.psi:.2f}" for d in found.drift if d.word != "stable"]
        share = percent(found.quarantined / found.rows) if found.rows else percent(0)
        table.add_row(
            Text(found.name),
            Text(found.partitions),
            f"{found.rows:,}",
            f"{found.quarantined:,} ({share})",
            Text(", ".join(moved) or "none"),
        )
    return table


def _terms(review: Review) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for term, told in review.lineage:
        table.add_row(term, Text(told))
    return table


def _grade(review: Review) -> str:
    return dict(review.lineage)["Reproducibility"]
