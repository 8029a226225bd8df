"""Sends and fetches the anchors of ledgers. Of two lines, one must continue the other.

Every machine makes the same commit of the same entry, so an entry that was anchored on two machines
is the same line in both clones, and the longer one is taken. Registries that do not travel may have
the same name in several clones: on a remote, the name of a ledger's anchor also holds the commit of
its first entry, and only lines with a commit in common are compared.

    here    refs/refit-ledger/NAME, and what was fetched, refs/refit-ledger-of/REMOTE/NAME/FIRST
    remote  refs/refit-ledger/NAME/FIRST
"""

from pathlib import Path

from refit.core.errors import RegistryError, SetupError
from refit.registry.anchor import FETCHED, REFS
from refit.registry.ledger import ATTEMPTS
from refit.workspace import git


def pull(root: Path, remote: str) -> None:
    """Fetch the remote's anchors, and take those that continue the ones here.

    Where there is none yet, the next comparison with the ledger chooses among the fetched ones.

    Raises:
        RegistryError: an anchor contradicts the one here.
        SetupError: the remote cannot be reached.
    """
    git.run(root, "fetch", "--quiet", "--prune", remote, f"+{REFS}/*:{FETCHED}/{remote}/*")
    for name in _own(root):
        _related(root, remote, name)


def push(root: Path, remote: str) -> None:
    """Send the anchors, after those of the remote were taken.

    Raises:
        RegistryError: an anchor contradicts the remote's.
        SetupError: the remote cannot be reached.
    """
    for attempt in range(ATTEMPTS):
        pull(root, remote)
        lines = [f"{REFS}/{name}:{REFS}/{_related(root, remote, name)}" for name in _own(root)]
        if not lines:
            return
        try:
            git.run(root, "push", "--quiet", remote, *lines)
        except SetupError as error:
            if "rejected" not in str(error) or attempt == ATTEMPTS - 1:
                raise
        else:  # others were first: fetch and send again
            return


def _own(root: Path) -> list[str]:
    """The names of the ledgers that are anchored here."""
    return git.run(root, "for-each-ref", "--format=%(refname:lstrip=2)", REFS).splitlines()


def _related(root: Path, remote: str, name: str) -> str:
    """Take the remote's anchor of the same ledger if it continues ours; returns its name there."""
    form = "--format=%(refname:lstrip=3)"
    for line in git.run(root, "for-each-ref", form, f"{FETCHED}/{remote}/{name}").splitlines():
        theirs = f"{FETCHED}/{remote}/{line}"
        if git.ask(root, "merge-base", f"{REFS}/{name}", theirs) is not None:
            _take(root, remote, name, theirs)
            return line
    return f"{name}/{_first(root, name)}"


def _first(root: Path, name: str) -> str:
    """The id of a first entry's commit, shortened. After a repair there may be two."""
    return git.run(root, "rev-list", "--max-parents=0", f"{REFS}/{name}").splitlines()[-1][:12]


def _take(root: Path, remote: str, name: str, theirs: str) -> None:
    ours = f"{REFS}/{name}"
    for _ in range(ATTEMPTS):
        old, new = git.resolve(root, ours) or "", git.resolve(root, theirs) or ""
        if _continues(root, old, new):
            return
        if not _continues(root, new, old):
            raise RegistryError(
                f"the anchor of the ledger of {name} contradicts that of `{remote}`",
                where=ours,
                got=f"{old[:12]} here and {new[:12]} there, of which neither continues the other",
                expected="one line of entries",
                do="look at both with `git log`: one registry was changed by hand, or one is an old"
                " copy of the other; a person who knows which is right deletes the other anchor"
                f" (`git update-ref -d {ours}`, or the same in the remote)",
            )
        if git.ask(root, "update-ref", ours, new, old) is not None:
            return


def _continues(root: Path, new: str, old: str) -> bool:
    """Whether the commit `new` has `old` behind it, or is it."""
    return git.ask(root, "merge-base", "--is-ancestor", old, new) is not None
