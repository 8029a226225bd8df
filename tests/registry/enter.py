"""Enters versions in the ledger as champions, one after another, after a line on stdin.

It takes no lock: the ledger alone orders the processes.
"""

import sys
from pathlib import Path

from refit.registry import reconcile
from refit.registry.entry import Entry
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry

registry = Registry.open(Path(sys.argv[1]), "t")


def promote(number: int) -> None:
    def make(ledger: Ledger) -> Entry:
        return ledger.entry("rollback", who="one", why="of many", version=number, after=number)

    reconcile.enter(registry, make)


print("ready", flush=True)
sys.stdin.readline()
for word in sys.argv[2:]:
    promote(int(word))
