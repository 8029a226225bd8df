"""`refit ingest`, `run` and `promote`: bring the model up to date."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from refit.cli.terminal import at_root, console

if TYPE_CHECKING:
    from refit.workflow.run import Start, Watch
    from refit.workflow.step_result import StepResult

app = typer.Typer()
COLOURS = {"Cached": "dim", "Restored": "cyan", "Completed": "green"}
LONGEST_REASON = 400
"""Characters of a step's reason that are printed."""

Until = Annotated[
    str | None,
    typer.Option(
        metavar="PARTITION",
        help="Ingest up to this partition, such as `2013-10`; `next` ingests one more partition,"
        " `latest` all that the source has.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the stages' output.")]


@app.command()
def ingest(
    until: Until = "latest",
    show: Annotated[
        bool, typer.Option("--list", help="Only list the partitions that the source has.")
    ] = False,
) -> None:
    """Ingest new partitions from the dataset's source into data/raw.

    Partitions that are already there do not change.
    """
    from refit.pipeline import ingest as source

    root = at_root()
    if show:
        for name in source.available(root):
            console.print(name)
        return
    added = source.ingest(root, until=until, on_progress=lambda name: console.print(f"+ {name}"))
    console.print(f"{len(added)} partitions added" if added else "nothing to add: all are there")


@app.command()
def run(
    until: Until = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run every stage, changed or not.")
    ] = False,
    server: Annotated[
        bool,
        typer.Option(
            help="Run as a Prefect flow, and start a Prefect server in the background if none"
            " runs. Without it, the same steps run in this process.",
        ),
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Run the stages that changed, evaluate, and decide about promotion.

    A stage that is up to date does not run. If nothing changed, this takes a few seconds and starts
    no server.
    """
    from refit.workflow.run import run as run_all

    prefect = run_all(
        at_root(),
        _printer(quiet=quiet),
        until=until,
        force=force,
        load_flow=_load_flow if server else None,
    )
    if prefect is not None:
        console.print(f"Prefect shows the run: {prefect.url} (`refit down` stops it)", style="dim")


@app.command()
def promote() -> None:
    """Decide about the candidate, and make it champion if it passes every gate.

    A decision about the same candidate, champion, holdout and policy is made once; after that, this
    prints the recorded one.
    """
    from refit.workflow.steps import promote_only

    decision = promote_only(at_root())
    console.print(escape(decision.sentence))
    if decision.cached:
        console.print("(decided before)", style="dim")
    if decision.waits:
        console.print(escape(decision.ask()), style="yellow")


def _load_flow() -> "Start":
    from flows.start import start

    return lambda watch, until, force: start(watch, until=until, force=force)


def _printer(*, quiet: bool) -> "Watch":
    def watch(step: str, event: "str | StepResult") -> None:
        if not isinstance(event, str):
            _print_result(step, event)
        elif not quiet:
            console.print(f"  {escape(event)}", style="dim")

    return watch


def _print_result(step: str, result: "StepResult") -> None:
    reason = result.reason
    if len(reason) >= LONGEST_REASON:
        reason = reason[:LONGEST_REASON] + " …"
    console.print(
        f"[{COLOURS[result.outcome]}]{result.outcome:9}[/] [bold]{step:10}[/]"
        f" {result.seconds:6.1f} s  {escape(reason)}"
    )
    if result.ask:
        console.print(escape(result.ask), style="yellow")
