"""`refit history`, `approve`, `reject` and `rollback`: the ledger, and the answers of a person."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from refit.cli.terminal import at_root, console
from refit.core.printable import one_line

if TYPE_CHECKING:
    from refit.promotion.approval import Move
    from refit.promotion.history import Findings

app = typer.Typer()

Number = Annotated[int, typer.Argument(help="The number of the version.", min=1)]
Why = Annotated[str, typer.Option(help="The reason, recorded in the ledger.")]
NONE = "none"
MOMENTS = [f"%Y-%m-%d{time}" for time in ("", "T%H:%M", "T%H:%M:%S", "T%H:%M%z", "T%H:%M:%S%z")]


@app.command()
def history(
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check for entries that were changed or removed, and for aliases that were moved"
            " by hand; the status is 1 if there are any.",
        ),
    ] = False,
    at: Annotated[
        datetime | None,
        typer.Option(
            metavar="MOMENT",
            formats=MOMENTS,
            help="Only print which version was champion at a moment, such as `2013-11-15T12:00`"
            " (UTC unless it has an offset).",
        ),
    ] = None,
) -> None:
    """Print the ledger: every decision and answer, who made it, why, and the champion after it."""
    from refit.promotion.history import examine, live, read

    root = at_root()
    if at is not None:
        moment = at if at.tzinfo else at.replace(tzinfo=UTC)
        champion = live(root, moment)
        console.print(f"version {champion}" if champion else "no version was champion then")
        return
    for number, entry in read(root).entries:
        reason = one_line(f"{entry.who}: {entry.why}")
        console.print(
            f"{number:4}  {entry.moment:%Y-%m-%d %H:%M:%S}  [bold]{entry.kind:10}[/]"
            f" {_champions(entry.before, entry.after):12} {escape(reason)}"
        )
    if verify:
        _print_findings(examine(root))


@app.command()
def approve(number: Number, why: Why = "") -> None:
    """Make the challenger champion.

    Its bundle is checked first: that its digest is right, that it loads, and that it predicts its
    stored example rows as it did when it was registered.
    """
    from refit.promotion import approval

    root = at_root()
    _print_move(approval.approve(root, number, why=why))
    _notify(root)


@app.command()
def reject(
    number: Number,
    why: Annotated[str, typer.Option(help="The reason, recorded in the ledger.")],
) -> None:
    """Reject the challenger; the champion stays."""
    from refit.promotion import approval

    root = at_root()
    _print_move(approval.reject(root, number, why=why))
    _notify(root)


@app.command()
def rollback(
    why: Annotated[str, typer.Option(help="The reason, recorded in the ledger.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="A former champion; by default, the previous one. `none` leaves no champion, so"
            " that the next candidate is compared with the linear baseline.",
        ),
    ] = None,
) -> None:
    """Make a former champion champion again, after the same check as `refit approve`."""
    from refit.promotion import approval

    if to not in {None, NONE} and not str(to).isdigit():
        raise typer.BadParameter("expected a version's number, or `none`", param_hint="--to")
    target = None if to is None else 0 if to == NONE else int(to)
    root = at_root()
    _print_move(approval.rollback(root, target, why=why))
    _notify(root)


def _print_move(move: "Move") -> None:
    console.print(escape(move.sentence))
    if move.checked:
        console.print(f"({escape(move.checked)})", style="dim")


def _notify(root: Path) -> None:
    """End the runs that wait in Prefect, if the project's server runs."""
    from refit.workspace import servers

    server = servers.running(root).get("prefect")
    if server is None:
        return
    os.environ.update(servers.prefect_environment(server))
    from flows.approval import end_overtaken

    ended = end_overtaken()
    if ended:
        console.print("the run that waited in Prefect has ended", style="dim")


def _champions(before: int | None, after: int | None) -> str:
    """The champion before and after an entry; empty if it did not change."""
    return "" if before == after else f"{before or NONE} → {after or NONE}"


def _print_findings(findings: "Findings") -> None:
    for note in findings.notes:
        console.print(f"[yellow]note[/]  {escape(one_line(note))}")
    for error in findings.errors:
        console.print(f"[red]wrong[/] {escape(one_line(error))}")
    if findings.errors:
        raise typer.Exit(1)
    console.print("[green]ok[/]    the ledger is complete, and the aliases agree with it")
