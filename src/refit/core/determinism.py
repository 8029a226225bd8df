"""What a stage's bytes may depend on, and the settings that hold it to that.

Every stage except `train` computes the same bytes on any x86-64 processor with AVX2 and FMA. For
training, params.yaml chooses the level:

- any-x86: the same bytes on any such processor, whatever the number of threads;
- threads: the same bytes on processors of this kind, on one to four threads;
- machine: the same bytes on this machine with this number of threads; the fastest kernels of the
  processor, on all cores.

docs/determinism.md says what was measured. The settings work only if they are in the environment
before NumPy and torch are loaded, so `apply` is the first thing that a stage's process does. What
each is for:

- ATEN_CPU_CAPABILITY=avx2: torch's own kernels, the same on every processor that has AVX2, and for
  any number of threads, which those for AVX-512 are not;
- MKL_CBWR=COMPATIBLE: the only path of MKL that is promised for Intel and AMD. It is less
  than half as fast, so the matrix products of training do not go through it (see
  refit.training.linear_layer);
- MKL_CBWR=AVX2,STRICT: products of which most have the same bits on any number of threads;
- OPENBLAS_CORETYPE=Haswell: NumPy's and SciPy's matrix products, one kernel with fixed blocks;
- NPY_DISABLE_CPU_FEATURES: NumPy's exp and log in AVX-512 round differently.
"""

import os
import random
import sys
from typing import Literal

from refit.core.errors import ConfigError, SetupError
from refit.core.processor import cpuinfo

NEEDED_FLAGS = ("avx2", "fma")
THREADS = "REFIT_THREADS"
"""The variable that limits the threads of training."""
MOST_THREADS = 4
"""The most for which the level `threads` is proven; MKL cuts some products otherwise with eight."""

Level = Literal["machine", "threads", "any-x86"]
LEVELS: tuple[Level, ...] = ("machine", "threads", "any-x86")
STRICTEST: Level = "any-x86"


def at_most(level: Level, limit: Level) -> Level:
    """The weaker of two promises."""
    return min(level, limit, key=LEVELS.index)


def settings(level: Level = STRICTEST) -> dict[str, str]:
    """The environment variables of a deterministic stage."""
    always = {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    if level == "machine":
        count = str(threads(level))
        return {**always, "MKL_NUM_THREADS": count, "OMP_NUM_THREADS": count}
    always |= {
        "ATEN_CPU_CAPABILITY": "avx2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_L2_SIZE": "512",
    }
    if level == "threads":
        return {**always, "MKL_CBWR": "AVX2,STRICT"}
    return {**always, "MKL_CBWR": "COMPATIBLE", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def threads(level: Level) -> int:
    """Threads of training: REFIT_THREADS, or the cores that this process may use."""
    given = os.environ.get(THREADS)
    if given is not None and not (given.isdecimal() and int(given)):
        raise ConfigError(
            f"{THREADS} must be a number of threads", got=repr(given), expected="1 or more"
        )
    wanted = cores() if given is None else int(given)
    return min(wanted, MOST_THREADS) if level == "threads" else wanted


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def apply(level: Level = STRICTEST) -> None:
    """Put the level's settings into the environment, and remove those of other levels.

    Raises:
        SetupError: NumPy or torch was loaded before under other settings, or the processor lacks
            AVX2 or FMA.
    """
    wanted = settings(level)
    known = {key for other in LEVELS for key in settings(other)}
    differing = sorted(key for key in known if os.environ.get(key) != wanted.get(key))
    loaded = [name for name in ("numpy", "torch") if name in sys.modules]
    if differing and loaded:
        raise SetupError(
            f"{' and '.join(loaded)} was loaded before the determinism settings",
            got=f"{', '.join(differing)} unset or different",
            do="run the stage as `python -m refit STAGE`, in a process of its own",
        )
    require_processor()
    for key in known:
        os.environ.pop(key, None)
    os.environ.update(wanted)


def missing_flags() -> tuple[str, ...]:
    """Instruction sets that this processor lacks; none where the system does not list them."""
    flags = cpuinfo().get("flags")
    return (
        () if flags is None else tuple(flag for flag in NEEDED_FLAGS if flag not in flags.split())
    )


def require_processor() -> None:
    """Raise SetupError when the processor cannot compute the promised bytes."""
    missing = missing_flags()
    if missing:
        raise SetupError(
            "this processor cannot compute the same bytes as others",
            where="/proc/cpuinfo",
            got=f"no {', '.join(missing)}",
            expected=", ".join(NEEDED_FLAGS),
            do="run on an x86-64 processor of 2013 or later",
        )


def seed_everything(seed: int, level: Level = STRICTEST) -> None:
    """Seed Python and torch, set torch's threads and refuse its nondeterministic kernels.

    At the level any-x86 torch has one thread; refit.training.linear_layer brings its own.
    """
    import torch

    random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1 if level == "any-x86" else threads(level))
    # The same as use_deterministic_algorithms, which loads torch's compiler too, for a second.
    torch.set_deterministic_debug_mode("error")
