"""The program `refit`: the commands of every topic, and how its errors are printed.

Every command imports what it needs when it is called, so that help is printed immediately.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

from refit.cli import checks, decisions, pipeline, reproduce, review, seeds, servers
from refit.cli.terminal import SafeConsole
from refit.core.errors import DiskError, RefitError, ServerLostError

app = typer.Typer(
    name="refit",
    help="Keep a registered model up to date with its data.",
    epilog="Start with `refit ingest`, then `refit run`. `refit status` shows the current state.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for topic in (pipeline, checks, decisions, review, reproduce, servers, seeds):
    app.add_typer(topic.app)


def main() -> None:
    """Run the program: a user's error is one paragraph on stderr and status 1, not a traceback."""
    with _paragraphs():
        app()


@contextlib.contextmanager
def _paragraphs() -> Iterator[None]:
    try:
        yield
    except RefitError as error:
        _exit(error)
    except OSError as error:
        _exit(DiskError.of(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _exit(error: RefitError) -> None:
    if os.environ.get("REFIT_DEBUG"):
        raise error
    SafeConsole(stderr=True, highlight=False).print(f"refit: {error}", markup=False, soft_wrap=True)
    if isinstance(error, ServerLostError):  # otherwise Prefect waits a minute for its server
        sys.stdout.flush()
        os._exit(1)
    sys.exit(1)


if __name__ == "__main__":
    main()
