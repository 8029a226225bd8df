"""Decides about the candidates of several folders at the same time, each in its own process.

The processes are forks of one process that has loaded all modules, so that they meet while they
decide, not while they load. Every candidate passes here, so each must become champion in turn.
Everything else is as usual.
"""

import importlib
import multiprocessing
import sys
from dataclasses import replace
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from refit.promotion import judge
from refit.promotion.decide import decide as promote

LOADED = (
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "onnxruntime",
    "refit.reproducibility.lineage",
    "refit.registry.registry",
)
real = judge.judge


def passing(*arguments: Any) -> judge.Judgement:
    return replace(real(*arguments), outcome="promote")


def decide(number: int, root: str, start: Barrier, results: "SynchronizedArray[int]") -> None:
    start.wait()
    decision = promote(Path(root))
    results[2 * number] = decision.version
    results[2 * number + 1] = decision.champion_before or 0


def main(roots: list[str]) -> int:
    judge.judge = passing  # type: ignore[assignment]
    for name in LOADED:
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(len(roots)), context.Array("i", 2 * len(roots))
    processes = [
        context.Process(target=decide, args=(number, root, start, results))
        for number, root in enumerate(roots)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for number in range(len(roots)):
        print(results[2 * number], results[2 * number + 1])
    return max(abs(process.exitcode or 0) for process in processes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
