"""The noise between retrains, measured by retraining with other seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refit.core import files
from refit.core.errors import PipelineError
from refit.promotion import seed_noise


@pytest.mark.slow
@pytest.mark.heavy
def test_the_deviation_is_that_of_retrains_with_other_seeds(
    projects: Callable[[str], Any], tmp_path: Path
) -> None:
    """The command prints each retrain's loss and their deviation, and leaves nothing behind."""
    project = projects("pumps").copy(tmp_path / "pumps")
    before = files.digest(project.root / "data"), sorted((project.root / ".refit").rglob("*"))
    lines = project.call("refit", "seeds", "--retrains", "3").stdout.splitlines()
    losses = [float(line.partition(": ")[2]) for line in lines[:-1]]
    assert [line.partition(":")[0] for line in lines] == [
        "seed 2013",
        "seed 2014",
        "seed 2015",
        "seed_deviation",
    ]
    assert len(set(losses)) == 3
    assert float(lines[-1].split()[1]) == pytest.approx(np.std(losses, ddof=1), rel=0.06)
    stored = files.read_json(project.root / "data/evaluation/metrics.json")["models"]["network"]
    assert losses[0] == pytest.approx(stored["log_loss"]["value"], abs=1e-4)
    assert (
        files.digest(project.root / "data"),
        sorted((project.root / ".refit").rglob("*")),
    ) == before


def test_retrains_need_prepared_data(tmp_path: Path) -> None:
    """Before the first run, the error says that there is nothing to train on."""
    with pytest.raises(PipelineError, match="nothing to train on"):
        list(seed_noise.retrains(tmp_path, 3))
