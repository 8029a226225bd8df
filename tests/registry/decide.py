"""Decide about the candidate of the folder that is named, when told to: started many times at once.

Every candidate passes here, so that each of them must become champion in its turn; all else is as
it always is.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from refit import promote
from refit.judging import judge

real = judge.judge


def passing(*arguments: Any) -> judge.Judgement:
    return replace(real(*arguments), outcome="promote")


judge.judge = passing  # type: ignore[assignment]
print("ready", flush=True)
sys.stdin.readline()
decision = promote.decide(Path(sys.argv[1]))
print(decision.version, decision.champion_before or 0, flush=True)
