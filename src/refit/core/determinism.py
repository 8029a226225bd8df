"""Settings under which a stage computes the same bytes on any x86-64 processor with AVX2 and FMA.

They only work when they stand in the environment before NumPy and torch are loaded, so `apply` is
the first thing that a stage's process does. What each is for:

- one thread: sums of large tensors are cut by the number of threads;
- ATEN_CPU_CAPABILITY=avx2: torch's own kernels, the same on every processor that has AVX2;
- MKL_CBWR=COMPATIBLE: the only path of MKL that is the same on Intel and AMD. It is less
  than half as fast, so the matrix products of training do not go through it (see refit.product);
- OPENBLAS_CORETYPE=Haswell: NumPy's and SciPy's matrix products, one kernel with fixed blocks;
- NPY_DISABLE_CPU_FEATURES: NumPy's exp and log in AVX-512 round differently.
"""

import os
import random
import sys
from pathlib import Path

from refit.core.errors import SetupError

NEEDED_FLAGS = ("avx2", "fma")


def settings() -> dict[str, str]:
    """The environment variables of a deterministic stage."""
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "COMPATIBLE",
        "MKL_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_L2_SIZE": "512",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }


def apply() -> None:
    """Put the settings into the environment.

    Raises:
        SetupError: NumPy or torch was loaded before under other settings, or the processor lacks
            AVX2 or FMA.
    """
    wanted = settings()
    differing = sorted(key for key, value in wanted.items() if os.environ.get(key) != value)
    loaded = [name for name in ("numpy", "torch") if name in sys.modules]
    if differing and loaded:
        raise SetupError(
            f"{' and '.join(loaded)} was loaded before the determinism settings",
            got=f"{', '.join(differing)} unset or different",
            do="run the stage as `python -m refit STAGE`, in a process of its own",
        )
    require_processor()
    os.environ.update(wanted)


def missing_flags() -> tuple[str, ...]:
    """Instruction sets that this processor lacks; none where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ()
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), None)
    return () if flags is None else tuple(flag for flag in NEEDED_FLAGS if flag not in flags)


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


def seed_everything(seed: int) -> None:
    """Seed Python and torch, hold torch to one thread and refuse its nondeterministic kernels."""
    import torch

    random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
