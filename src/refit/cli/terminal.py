"""What every command shares: the console, and the project that it works in."""

import os
from pathlib import Path

from rich.console import Console

from refit.workspace.project import environment, find_root

console = Console(highlight=False, soft_wrap=True)


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
