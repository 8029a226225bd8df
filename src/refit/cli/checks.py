"""`refit status`, `doctor` and `deps`: the state of the project, and what is wrong with it."""

from typing import Annotated

import typer
from rich.markup import escape

from refit.cli.terminal import at_root, console

app = typer.Typer()


@app.command()
def status() -> None:
    """Print the champion, the data, the stages that would run and why, and the servers."""
    from refit.workflow.status import status as current

    for line in current(at_root()).lines():
        console.print(escape(line))


@app.command()
def doctor() -> None:
    """Check the environment, and print how to fix what is wrong."""
    from refit.workflow.doctor import examine

    failed = False
    for check in examine(at_root()):
        mark, colour = ("ok", "green") if check.ok else ("wrong", "red")
        console.print(f"[{colour}]{mark:5}[/] {check.name}: {escape(check.detail)}")
        if not check.ok:
            failed = True
            if check.fix:
                console.print(f"      {escape(check.fix)}")
    if failed:
        raise typer.Exit(1)


@app.command()
def deps(
    fix: Annotated[bool, typer.Option("--fix", help="Write the correct dependencies.")] = False,
) -> None:
    """Check that dvc.yaml names the code that each stage imports."""
    from refit.pipeline import stage_deps

    root = at_root()
    errors = stage_deps.fix(root) if fix else stage_deps.check(root)
    for line in errors:
        console.print(escape(line))
    if errors and not fix:
        console.print("`refit deps --fix` fixes this")
        raise typer.Exit(1)
    console.print("fixed" if errors else "dvc.yaml names the code that each stage imports")
