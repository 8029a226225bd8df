"""What every command shares: the console, and the project that it works in."""

import os
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from refit.core.printable import printable
from refit.workspace.project import environment, find_root


class SafeConsole(Console):
    """A console on which no text from outside acts: see refit.core.printable.

    Tables are laid out before, so a hostile text in a narrow cell may lose its end.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """As rich does, with control characters in texts written out."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


console = SafeConsole(highlight=False, soft_wrap=True)


def at_root() -> Path:
    """Change to the project's root, and set the environment variables that its programs need.

    Raises:
        SetupError: the current folder is not in a project.
    """
    root = find_root()
    os.chdir(root)
    for name, value in environment(root).items():
        if name != "MLFLOW_TRACKING_URI":
            os.environ[name] = value
    return root
