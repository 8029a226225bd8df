"""Decide about the candidates of the folders that are named, each in a process of its own, at once.

The processes are forks of one that has loaded what deciding needs, so that they meet while they
decide, not while they load. Every candidate passes here, so that each of them must become champion
in its turn; all else is as it always is.
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
    "refit.reproducibility.provenance",
    "refit.registry.client",
)
real = judge.judge


def passing(*arguments: Any) -> judge.Judgement:
    return replace(real(*arguments), outcome="promote")


def decide(number: int, root: str, start: Barrier, told: "SynchronizedArray[int]") -> None:
    start.wait()
    decision = promote(Path(root))
    told[2 * number] = decision.version
    told[2 * number + 1] = decision.champion_before or 0


def main(roots: list[str]) -> int:
    judge.judge = passing  # type: ignore[assignment]
    for name in LOADED:
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(len(roots)), context.Array("i", 2 * len(roots))
    begun = [
        context.Process(target=decide, args=(number, root, start, told))
        for number, root in enumerate(roots)
    ]
    for process in begun:
        process.start()
    for process in begun:
        process.join()
    for number in range(len(roots)):
        print(told[2 * number], told[2 * number + 1])
    return max(abs(process.exitcode or 0) for process in begun)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
