"""The tasks by name; a new one is a file beside this one and a line here."""

from refit.core.errors import ConfigError
from refit.tasks import binary, counts, multiclass, regression
from refit.tasks.task import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK for module in (binary, multiclass, regression, counts)
}
ROW_LOSSES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.row_losses))
"""Every loss of single rows that some task has."""


def find(name: str) -> Task:
    """The task that a dataset's ROLES name.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(
            "the task is unknown",
            where="ROLES of the dataset, `task`",
            got=repr(name),
            expected=f"one of {', '.join(TASKS)}",
            do="correct the task in the dataset's module `examples`",
        )
    return TASKS[name]
