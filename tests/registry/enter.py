"""Enter the named versions in the ledger as champions, one after another, when told to.

No lock of a machine is taken: what orders the processes is the ledger alone.
"""

import sys
from pathlib import Path

from refit.registry import reconcile
from refit.registry.client import Registry
from refit.registry.ledger import Book, Entry

registry = Registry(Path(sys.argv[1]), "t")


def crown(number: int) -> None:
    def make(book: Book) -> Entry:
        return book.entry("rollback", who="one", why="of many", version=number, after=number)

    reconcile.enter(registry, make)


print("ready", flush=True)
sys.stdin.readline()
for word in sys.argv[2:]:
    crown(int(word))
