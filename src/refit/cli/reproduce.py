"""`refit lineage`, `reproduce`, `push` and `pull`: where versions come from, and their remotes."""

from typing import Annotated

import typer
from rich.markup import escape

from refit.cli.pipeline import Quiet
from refit.cli.terminal import at_root, console

app = typer.Typer()

GitRemote = Annotated[str, typer.Option("--git", help="The Git remote of the commits.")]
DvcRemote = Annotated[
    str | None, typer.Option("--dvc", help="The DVC remote; by default, the project's default.")
]


@app.command()
def lineage(
    version: Annotated[
        str,
        typer.Argument(help="A number, an alias such as `@champion`, an MLflow run, or a commit."),
    ],
    full: Annotated[bool, typer.Option("--json", help="Print the complete lineage.json.")] = False,
) -> None:
    """Print what a version was made from: commit, data, packages, machine, grade."""
    import json

    from refit.registry import resolve
    from refit.registry.registry import Registry
    from refit.reproducibility.lineage import lineage_lines

    root = at_root()
    registry = Registry.open(root)
    registered = resolve.find(root, registry, version)
    stored = registry.artifacts.lineage(registered)
    if full:
        print(json.dumps(stored, indent=2, sort_keys=True))
        return
    for line in lineage_lines(stored, registered):
        console.print(escape(line))


@app.command()
def reproduce(
    version: Annotated[
        str, typer.Argument(help="A number, an alias such as `@champion`, or a commit.")
    ],
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Number of threads; repeat it for several runs (1, 2 and 4)."),
    ] = None,
    own_environment: Annotated[
        bool,
        typer.Option(
            "--own-environment",
            help="Install the commit's constraints.txt into a separate virtual environment.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Build a version again from its commit and raw data, and compare the bytes.

    Every stage runs in a separate folder, with an empty cache; the workspace does not change. The
    grade is recorded on the version. The status is 1 if anything differs.
    """
    from refit.registry.registry import Registry
    from refit.reproducibility.record import record
    from refit.reproducibility.reproduce import reproduce as run_again
    from refit.reproducibility.target import find_target

    root = at_root()
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


@app.command()
def push(git: GitRemote = "origin", dvc: DvcRemote = None) -> None:
    """Send the commits of versions, data, and the results of stages to the remotes.

    With the two remotes, anyone can restore every result without computing it, and reproduce every
    version.
    """
    from refit.reproducibility import remotes

    sent = remotes.push(at_root(), git_remote=git, dvc_remote=dvc, say=console.print)
    console.print(f"commits of versions sent: {sent.commits}; files sent: {sent.files}")


@app.command()
def pull(git: GitRemote = "origin", dvc: DvcRemote = None) -> None:
    """Fetch the commits of versions, data, and the results of stages from the remotes.

    After that, `refit run` restores what others have computed from the same inputs.
    """
    from refit.reproducibility import remotes

    fetched = remotes.pull(at_root(), git_remote=git, dvc_remote=dvc, say=console.print)
    console.print(f"commits of versions here: {fetched.commits}; files fetched: {fetched.files}")
