"""`refit up` and `down`: the local servers."""

import typer
from rich.markup import escape

from refit.cli.terminal import at_root, console

app = typer.Typer()


@app.command()
def up() -> None:
    """Start Prefect, a worker with the deployments, and MLflow; Ctrl-C stops them.

    All of them listen on 127.0.0.1 only.
    """
    from refit.workflow.up import up as start

    def crash_dead_runs() -> int:
        from flows.dead_runs import crash_dead_runs as crash

        return crash()

    start(at_root(), lambda line: console.print(escape(line)), crash_dead_runs)


@app.command()
def down() -> None:
    """Stop the servers that `refit run` or `refit up` started."""
    from refit.workspace import servers

    stopped = servers.stop(at_root())
    console.print(f"stopped {', '.join(stopped)}" if stopped else "no server was running")
