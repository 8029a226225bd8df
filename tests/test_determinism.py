"""The settings under which stages compute, and that they take effect in time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refit.core import determinism
from refit.core.errors import ConfigError, SetupError

COMPATIBLE = "COMPATIBLE"


def python(
    code: str, *arguments: str, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    plain = {k: v for k, v in os.environ.items() if k not in determinism.settings()}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=plain | environment,
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_settings_reach_the_libraries() -> None:
    """After `apply`, torch runs its AVX2 kernels on one thread and NumPy one OpenBLAS kernel."""
    done = python(
        "from refit.core import determinism; determinism.apply(); determinism.seed_everything(1)\n"
        "import json, torch, numpy, threadpoolctl\n"
        "pools = [p for p in threadpoolctl.threadpool_info() if p['internal_api'] == 'openblas']\n"
        "print(json.dumps([torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(),"
        " torch.are_deterministic_algorithms_enabled(), [p['architecture'] for p in pools],"
        " [p['num_threads'] for p in pools]]))"
    )
    assert done.returncode == 0, done.stderr
    capability, threads, deterministic, kernels, pools = json.loads(done.stdout)
    assert (capability, threads, deterministic) == ("AVX2", 1, True)
    assert set(kernels) == {"Haswell"}
    assert set(pools) == {1}


def test_late_settings_are_rejected() -> None:
    """Settings that are applied after NumPy was loaded would do nothing, so they are an error."""
    done = python("import numpy; from refit.core import determinism; determinism.apply()")
    assert done.returncode == 1
    assert "numpy was loaded before the determinism settings" in done.stderr


def test_a_processor_without_avx2_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older processor cannot compute the promised bytes; the error names what it lacks."""
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags\t: fpu sse2 fma\n")
    with pytest.raises(SetupError, match=r"no avx2"):
        determinism.require_processor()


def test_the_level_comes_from_the_parameters_for_training_alone(tmp_path: Path) -> None:
    """`train` follows params.yaml, a wrong level is an error, and other stages stay strict."""
    code = (
        "import os, sys; from refit.__main__ import _level; from refit.core import determinism\n"
        "determinism.apply(_level([sys.argv[1]])); print(os.environ.get('MKL_CBWR'))"
    )
    path = tmp_path / "params.yaml"
    for level, branch in (("machine", "None"), ("threads", "AVX2,STRICT"), ("any-x86", COMPATIBLE)):
        path.write_text(f"determinism: {level}\n")
        assert python(code, "train", folder=tmp_path, MKL_CBWR="AVX").stdout.strip() == branch
        assert python(code, "evaluate", folder=tmp_path).stdout.strip() == COMPATIBLE
    path.write_text("determinism: some\n")
    done = python(code, "train", folder=tmp_path)
    assert "`determinism` must be one of machine, threads, any-x86. Got 'some'" in done.stderr


def test_recorded_settings_name_the_threads_where_they_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of threads changes the record of a training only at the level machine."""
    for level in determinism.LEVELS:
        records = []
        for count in ("2", "3"):
            monkeypatch.setenv("REFIT_THREADS", count)
            records.append(determinism.settings(level))
        assert (records[0] != records[1]) == (level == "machine")


@pytest.mark.parametrize("given", ["0", "-1", "two", ""])
def test_a_wrong_number_of_threads_is_rejected(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """REFIT_THREADS must be a whole number above zero."""
    monkeypatch.setenv("REFIT_THREADS", given)
    with pytest.raises(ConfigError, match="REFIT_THREADS must be a number of threads"):
        determinism.threads("any-x86")


@pytest.mark.slow
@pytest.mark.heavy
def test_every_stage_writes_the_same_bytes_again(projects: Any, tmp_path: Path) -> None:
    """All stages, forced to run again in new processes, leave dvc.lock unchanged."""
    project = projects("parcels").copy(tmp_path / "again")
    lock = (project.root / "dvc.lock").read_bytes()
    output = project.call("refit", "run", "--no-server", "--force").stdout
    assert output.count("Completed") >= 5
    assert (project.root / "dvc.lock").read_bytes() == lock


def test_an_unknown_stage_lists_the_known_ones() -> None:
    """`python -m refit` alone or with a wrong name lists the stages."""
    for arguments in ([], ["trian"]):
        done = subprocess.run(
            [sys.executable, "-m", "refit", *arguments], text=True, capture_output=True, check=False
        )
        assert done.returncode == 1
        assert "baseline, evaluate, preprocess, train, validate" in done.stderr
