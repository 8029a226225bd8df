"""`refit history`, `approve`, `reject`, `rollback`: what was decided, and what a person decides."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from refit.cli.terminal import at_root, console

if TYPE_CHECKING:
    from refit.promotion.approval import Move

app = typer.Typer()

Number = Annotated[int, typer.Argument(help="The version's number.", min=1)]
Why = Annotated[str, typer.Option(help="The reason, kept in the ledger for good.")]
NONE = "none"
MOMENTS = [f"%Y-%m-%d{time}" for time in ("", "T%H:%M", "T%H:%M:%S", "T%H:%M%z", "T%H:%M:%S%z")]


@app.command()
def history(
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Look for entries that were changed or taken away, and for aliases that were"
            " moved by hand; status 1 when there is one.",
        ),
    ] = False,
    at: Annotated[
        datetime | None,
        typer.Option(
            metavar="MOMENT",
            formats=MOMENTS,
            help="Only say which version was champion at that moment (UTC unless it says"
            " otherwise), such as `2013-11-15T12:00`.",
        ),
    ] = None,
) -> None:
    """Print the ledger: every decision, by whom, why, and what was champion from then on."""
    from refit.promotion import approval

    root = at_root()
    if at is not None:
        moment = at if at.tzinfo else at.replace(tzinfo=UTC)
        live = approval.live(root, moment)
        console.print(f"version {live}" if live else "no version was champion then")
        return
    for number, entry in approval.history(root).entries:
        console.print(
            f"{number:4}  {entry.moment:%Y-%m-%d %H:%M:%S}  [bold]{entry.kind:10}[/]"
            f" {_moved(entry.before, entry.after):12} {escape(f'{entry.who}: {entry.why}')}"
        )
    if verify:
        _verify(approval.verify(root))


@app.command()
def approve(number: Number, why: Why = "") -> None:
    """Make the version that waits for a person champion.

    Its bundle is checked first: digest, that it loads, and that it predicts its stored example rows
    as it did when it was registered.
    """
    from refit.promotion import approval

    root = at_root()
    _done(approval.approve(root, number, why=why))
    _tell(root)


@app.command()
def reject(
    number: Number,
    why: Annotated[str, typer.Option(help="The reason, kept in the ledger for good.")],
) -> None:
    """Reject the version that waits for a person; the champion stays."""
    from refit.promotion import approval

    root = at_root()
    _done(approval.reject(root, number, why=why))
    _tell(root)


@app.command()
def rollback(
    why: Annotated[str, typer.Option(help="The reason, kept in the ledger for good.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="A former champion; the one before this one if none is named. `none` leaves no"
            " champion, so that the next candidate is compared with the linear baseline.",
        ),
    ] = None,
) -> None:
    """Make a former champion champion again, checked first as by `refit approve`."""
    from refit.promotion import approval

    if to not in {None, NONE} and not str(to).isdigit():
        raise typer.BadParameter("expected a version's number, or `none`", param_hint="--to")
    target = None if to is None else 0 if to == NONE else int(to)
    root = at_root()
    _done(approval.rollback(root, target, why=why))
    _tell(root)


def _done(move: "Move") -> None:
    console.print(escape(move.sentence))
    if move.checked:
        console.print(f"({escape(move.checked)})", style="dim")


def _tell(root: Path) -> None:
    """Let Prefect's suspended runs know, where the project's server is up."""
    from refit.workspace import servers

    server = servers.running(root).get("prefect")
    if server is None:
        return
    os.environ.update(servers.prefect_environment(server))
    from flows.approval import end_overtaken

    ended = end_overtaken()
    if ended:
        console.print("the run that waited in Prefect was told", style="dim")


def _moved(before: int | None, after: int | None) -> str:
    """The champion before and after, where it changed."""
    return "" if before == after else f"{before or NONE} → {after or NONE}"


def _verify(errors: list[str]) -> None:
    for error in errors:
        console.print(f"[red]wrong[/] {escape(error)}")
    if errors:
        raise typer.Exit(1)
    console.print("[green]ok[/]    the ledger is whole, and the aliases are as it says")
