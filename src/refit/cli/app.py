"""The command line. Each command imports what it needs when it is called: help answers at once."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from refit.cli import decisions, review, seeds
from refit.cli.terminal import at_root as _root
from refit.cli.terminal import console
from refit.core.errors import DiskError, RefitError, ServerLostError

app = typer.Typer(
    name="refit",
    help="Keep a registered model true to its data.",
    epilog="Start with `refit ingest`, then `refit run`. `refit status` says where you stand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(seeds.app)
app.add_typer(decisions.app)
app.add_typer(review.app)
COLOURS = {"Cached": "dim", "Restored": "cyan", "Completed": "green"}

Until = Annotated[
    str | None,
    typer.Option(
        metavar="PARTITION",
        help="The last partition to bring, such as `2013-10`; `next` brings one more than there"
        " is, `latest` all that the source has.",
    ),
]


@app.command()
def ingest(
    until: Until = "latest",
    show: Annotated[
        bool, typer.Option("--list", help="Only list the partitions that the source has.")
    ] = False,
) -> None:
    """Bring new partitions from the dataset's source into data/raw.

    Partitions that are there already are left as they are.
    """
    from refit.pipeline import ingest as source

    root = _root()
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
            help="Run as a Prefect flow; a server is started in the background if none is up."
            " Without it the same steps run plainly.",
        ),
    ] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Leave out the stages' own output.")
    ] = False,
) -> None:
    """Run what changed, evaluate, and decide about promotion.

    Nothing runs that is up to date: the answer then takes a few seconds and starts no server.
    """
    from refit.workflow.run import run as run_all

    shown = run_all(
        _root(),
        _printer(quiet=quiet),
        until=until,
        force=force,
        load_flow=_load_flow if server else None,
    )
    if shown is not None:
        console.print(f"Prefect shows the run: {shown.url} (`refit down` stops it)", style="dim")


@app.command()
def promote() -> None:
    """Decide about the model that the pipeline left, and move the champion if it earned it.

    Asked again about the same model, champion, holdout and policy, it finds the decision instead of
    making it again.
    """
    from refit.workflow.steps import promote_only

    decision = promote_only(_root())
    console.print(escape(decision.sentence))
    if decision.cached:
        console.print("(decided before)", style="dim")
    if decision.waits:
        console.print(escape(decision.ask()), style="yellow")


@app.command()
def lineage(
    version: Annotated[
        str,
        typer.Argument(help="A number, an alias such as `@champion`, an MLflow run, or a commit."),
    ],
    full: Annotated[bool, typer.Option("--json", help="Print the whole lineage.json.")] = False,
) -> None:
    """Say where a registered version came from: commit, data, packages, machine, grade."""
    import json

    from refit.registry import resolve
    from refit.registry.registry import Registry
    from refit.reproducibility.lineage import lineage_lines

    root = _root()
    registry = Registry.open(root)
    found = resolve.find(root, registry, version)
    stored = registry.artifacts.lineage(found)
    if full:
        print(json.dumps(stored, indent=2, sort_keys=True))
        return
    for line in lineage_lines(stored, found):
        console.print(escape(line))


@app.command()
def reproduce(
    version: Annotated[
        str, typer.Argument(help="A number, an alias such as `@champion`, or a commit.")
    ],
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Run with so many threads; give it several times (1, 2 and 4)."),
    ] = None,
    own_environment: Annotated[
        bool,
        typer.Option(
            "--own-environment",
            help="Install the commit's own constraints.txt into a separate virtual environment.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Leave out the stages' own output.")
    ] = False,
) -> None:
    """Build a version again from its commit and raw data, compare the bytes, and grade it.

    Everything runs in a temporary folder, from the raw partitions on, with nothing restored. The
    workspace stays as it is. The grade is recorded on the version. Status 1 if anything differs.
    """
    from refit.registry.registry import Registry
    from refit.reproducibility.record import record
    from refit.reproducibility.reproduce import reproduce as run_again
    from refit.reproducibility.target import find_target

    root = _root()
    registry = Registry.open(root)
    target = find_target(root, registry, version)
    console.print(f"reproducing commit {target.commit[:12]} in a temporary folder")
    result = run_again(
        root,
        target,
        lambda line: None if quiet else console.print(f"  {escape(line)}", style="dim"),
        threads=tuple(threads or ()),
        own_environment=own_environment,
    )
    if target.version is not None:
        record(registry, target.version.number, result)
    for line in result.lines():
        console.print(escape(line))
    if result.grade is None:
        raise typer.Exit(1)


GitRemote = Annotated[str, typer.Option("--git", help="The Git remote that takes the commits.")]
DvcRemote = Annotated[
    str | None, typer.Option("--dvc", help="The DVC remote; the default one if none is named.")
]


@app.command()
def push(git: GitRemote = "origin", dvc: DvcRemote = None) -> None:
    """Send the commits of versions, and data, outputs and results, to the remotes.

    After it, anyone with the two remotes can restore every result without computing it, and make
    every version again.
    """
    from refit.reproducibility import remotes

    sent = remotes.push(_root(), git_remote=git, dvc_remote=dvc, say=console.print)
    console.print(f"commits of versions sent: {sent.commits}; files sent: {sent.files}")


@app.command()
def pull(git: GitRemote = "origin", dvc: DvcRemote = None) -> None:
    """Bring the commits of versions, and data, outputs and results, from the remotes.

    `refit run` then restores what others have computed from the same inputs.
    """
    from refit.reproducibility import remotes

    brought = remotes.pull(_root(), git_remote=git, dvc_remote=dvc, say=console.print)
    console.print(f"commits of versions here: {brought.commits}; files brought: {brought.files}")


@app.command()
def up() -> None:
    """Start Prefect, a worker with the deployments, and MLflow; Ctrl-C stops them.

    Everything listens on 127.0.0.1 only.
    """
    from refit.workflow.up import up as start

    def crash_dead_runs() -> int:
        from flows.dead_runs import crash_dead_runs as crash

        return crash()

    start(_root(), lambda line: console.print(escape(line)), crash_dead_runs)


@app.command()
def down() -> None:
    """Stop the servers that `refit run` or `refit up` has left running."""
    from refit.workspace import servers

    stopped = servers.stop(_root())
    console.print(f"stopped {', '.join(stopped)}" if stopped else "no server was running")


@app.command()
def status() -> None:
    """Say what is champion, what would run and why, and which servers are up."""
    from refit.workflow.status import status as ask

    for line in ask(_root()).lines():
        console.print(escape(line))


@app.command()
def doctor() -> None:
    """Look for what is wrong with the environment, and say how to fix it."""
    from refit.workflow.doctor import examine

    failed = 0
    for check in examine(_root()):
        mark, colour = ("ok", "green") if check.ok else ("wrong", "red")
        console.print(f"[{colour}]{mark:5}[/] {check.name}: {escape(check.detail)}")
        if not check.ok:
            failed += 1
            if check.fix:
                console.print(f"      {escape(check.fix)}")
    if failed:
        raise typer.Exit(1)


@app.command()
def deps(
    fix: Annotated[bool, typer.Option("--fix", help="Write the true dependencies.")] = False,
) -> None:
    """Hold dvc.yaml to the code that each stage imports."""
    from refit.pipeline import stage_deps

    root = _root()
    wrong = stage_deps.fix(root) if fix else stage_deps.check(root)
    for line in wrong:
        console.print(escape(line))
    if wrong and not fix:
        console.print("`refit deps --fix` fixes this")
        raise typer.Exit(1)
    console.print("fixed" if wrong else "dvc.yaml names the code that each stage imports")


def main() -> None:
    """The program: a user's fault is one paragraph on stderr and status 1, never a traceback."""
    with _paragraphs():
        app()


@contextlib.contextmanager
def _paragraphs() -> Iterator[None]:
    try:
        yield
    except RefitError as error:
        _end(error)
    except OSError as error:
        if error.errno not in DiskError.REASONS:
            raise
        _end(DiskError(error, str(error.filename or Path.cwd())))
    except KeyboardInterrupt:
        sys.exit(130)


def _end(error: RefitError) -> None:
    if os.environ.get("REFIT_DEBUG"):
        raise error
    Console(stderr=True, highlight=False).print(f"refit: {error}", markup=False, soft_wrap=True)
    if isinstance(error, ServerLostError):  # else Prefect would wait a minute for it as we end
        sys.stdout.flush()
        os._exit(1)
    sys.exit(1)


def _load_flow() -> Callable[..., None]:
    from flows.start import start

    return lambda watch, until, force: start(watch, until=until, force=force)


def _printer(*, quiet: bool) -> Callable[[str, Any], None]:
    def watch(step: str, what: Any) -> None:
        if isinstance(what, str):
            if not quiet:
                console.print(f"  {escape(what)}", style="dim")
            return
        colour = COLOURS[what.outcome]
        reason = what.reason if len(what.reason) < 240 else what.reason[:240] + " …"
        console.print(
            f"[{colour}]{what.outcome:9}[/] [bold]{step:10}[/] {what.seconds:6.1f} s  "
            f"{escape(reason)}"
        )
        if what.ask:
            console.print(escape(what.ask), style="yellow")

    return watch


if __name__ == "__main__":
    main()
