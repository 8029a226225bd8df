"""Matrix products of the network's sizes under each setting, one thread: decision 2.

    .venv/bin/python benchmarks/products.py

Prints giga-operations a second, the median of a hundred products. Each setting runs in a new
process, because libraries read it when they are loaded.
"""

import os
import statistics
import subprocess
import sys
import time

SETTINGS = {
    "MKL, free": {},
    "MKL, AVX2": {"MKL_CBWR": "AVX2,STRICT", "ATEN_CPU_CAPABILITY": "avx2"},
    "MKL, any maker": {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "avx2"},
    "OpenBLAS, Haswell kernel": {"OPENBLAS_CORETYPE": "Haswell"},
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SIZES = ((1024, 460, 192), (1024, 192, 192), (192, 1024, 460))
REPEATS = 100


def main() -> None:
    """Run every setting in a new process."""
    print("| Setting | " + " | ".join(f"{m}x{k} by {k}x{n}" for m, k, n in SIZES) + " |")
    print("| --- |" + " ---: |" * len(SIZES), flush=True)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "MKL_"))}
    for name, settings in SETTINGS.items():
        subprocess.run(
            [sys.executable, __file__, name], env=plain | ONE_THREAD | settings, check=True
        )


def measure(name: str) -> None:
    """One row of the table."""
    import numpy as np
    import torch

    cells = []
    for m, k, n in SIZES:
        a, b = torch.randn(m, k), torch.randn(k, n)
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            if name.startswith("MKL"):
                torch.matmul(a, b)
            else:
                np.matmul(a.numpy(), b.numpy())
            seconds.append(time.perf_counter() - started)
        cells.append(f"{2 * m * k * n / statistics.median(seconds) / 1e9:.0f}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
