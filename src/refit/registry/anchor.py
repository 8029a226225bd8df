"""The anchor of the ledger outside the database: one Git commit for each entry, behind one ref.

    refs/refit-ledger/NAME -> commit of the last entry -> commit of the one before -> ...

A commit holds the entry's text (`entry.json`) and its signature, if it has one; its parent is the
commit of the entry before. It has the entry's date and no other content, so its id is a function of
the ledger: every machine makes the same commits, and a ledger that agrees with the ref agrees with
everything behind it. Anyone who can write the database but not the repository can change neither
the commits nor the ref. The commit of a repair has a second parent, the line that it gives up.

Branch, index and files stay as they are, and no Git identity is needed.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from refit.core.errors import RefitError, SetupError
from refit.registry.entry import Entry, parse_entry
from refit.workspace import git, git_objects, git_signatures
from refit.workspace.git_objects import GitObject
from refit.workspace.project import mlflow_uri, own_mlflow_uri

REFS = "refs/refit-ledger"
"""Not below refs/refit, where each ref is a version's commit."""
FETCHED = "refs/refit-ledger-of"
"""Anchors as remotes have them, below the remote's name."""
FILE = "entry.json"
HEADERS = {"sha1": "gpgsig", "sha256": "gpgsig-sha256"}
"""The header of a signature in a commit, by the repository's algorithm."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """An entry with the commit that anchors it."""

    number: int
    entry: Entry
    signature: str
    objects: tuple[GitObject, ...]
    """Blob, tree and commit."""

    @property
    def commit(self) -> str:
        """The id of the commit."""
        return self.objects[-1].id


class Anchor:
    """The anchor of one ledger in the project's repository.

    Args:
        root: of the project.
        name: of the registered model.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.ref = f"{REFS}/{name}"

    @cached_property
    def algorithm(self) -> str | None:
        """Of the repository's ids; None if there is no repository, and so no anchor."""
        return git_objects.algorithm(self.root)

    @property
    def is_ours(self) -> bool:
        """Whether only this clone writes the registry: it is the project's own database."""
        return mlflow_uri(self.root) == own_mlflow_uri(self.root)

    def head(self) -> str | None:
        """The commit of the entry that was anchored last; None before the first."""
        if self.algorithm is None:
            return None
        return git.ask(self.root, "rev-parse", "--verify", "--quiet", self.ref)

    def fetched(self, links: Sequence[Link]) -> str | None:
        """The commit of the longest fetched anchor of a ledger that began with the same entry."""
        if self.algorithm is None or not links:
            return None
        form = "--format=%(refname) %(objectname)"
        refs = git.run(self.root, "for-each-ref", form, f"{FETCHED}/*/{self.name}/*").splitlines()
        lines = {ref.split(" ")[1]: ref.split(" ")[0] for ref in refs}
        numbers = {link.commit: link.number for link in links}
        related = [commit for commit in lines if self._begins(commit, links[0].commit)]
        return max(related, key=lambda commit: numbers.get(commit, len(links) + 1), default=None)

    def _begins(self, commit: str, first: str) -> bool:
        return first in git.run(self.root, "rev-list", "--max-parents=0", commit).splitlines()

    def line(
        self, entries: Sequence[tuple[int, Entry]], signatures: Mapping[int, str]
    ) -> tuple[Link, ...]:
        """The commits that anchor these entries; nothing is written."""
        return tuple(_links(entries, signatures, self.algorithm or "sha1"))

    def move(self, link: Link, old: str | None) -> bool:
        """Let the ref name the link's commit; False if it no longer names `old`."""
        start = "0" * len(link.commit)
        return git.ask(self.root, "update-ref", self.ref, link.commit, old or start) is not None

    def write(self, links: Sequence[Link]) -> None:
        """Write the commits; the ref stays where it is."""
        git_objects.write(self.root, [each for link in links for each in link.objects])

    def sign(self, link: Link) -> str:
        """The signature of an entry, made with the user's key.

        Raises:
            SetupError: there is no key, it cannot be used, or it is not the key of an allowed
                signer who is the entry's `who`.
        """
        blob, tree, commit = link.objects
        git_objects.write(self.root, [blob, tree])
        headers, _, message = commit.content.decode().partition("\n\n")
        parents = [line[7:] for line in headers.splitlines() if line.startswith("parent ")]
        made = git_signatures.commit_signed(
            self.root, tree.id, parents, message, _identity(link.entry)
        )
        signature = git_signatures.read(self.root, [made])[made]
        if not signature.is_of(link.entry.who):
            raise SetupError(
                f"the entry was signed, but its signature is {signature}",
                got=f"an entry of {link.entry.who}",
                expected="a valid signature by an allowed signer with the same mail",
                do=git_signatures.HOW,
            )
        return _signature(git.run(self.root, "cat-file", "commit", made), self.algorithm or "sha1")

    def signatures(self, links: Sequence[Link]) -> dict[int, git_signatures.Signature]:
        """The signature of each entry that has one, by the entry's number; nothing is kept."""
        signed = {link.commit: link.number for link in links if link.signature}
        if not signed or self.algorithm is None:
            return {}
        objects = [each for link in links for each in link.objects]
        with git_objects.written_apart(self.root, objects) as more:
            read = git_signatures.read(self.root, list(signed), more)
        lost = git_signatures.Signature(letter="N", signer="")
        return {number: read.get(commit, lost) for commit, number in signed.items()}

    def foreign(self, links: Sequence[Link]) -> list[Link]:
        """Those that this repository never had: no process that used it wrote the entry."""
        if not links:
            return []
        missing = git_objects.missing(self.root, [link.commit for link in links])
        return [link for link in links if link.commit in missing]

    def lacks_replaced(self, links: Sequence[Link]) -> Link | None:
        """A repair of a line that this repository does not have."""
        repairs = {link.entry.replaces: link for link in links if link.entry.replaces}
        if not repairs:
            return None
        lost = git_objects.missing(self.root, list(repairs))
        return next((link for name, link in repairs.items() if name in lost), None)

    def anchored(self, head: str) -> list[Entry | None]:
        """The entries behind a commit, the oldest first; None for one that cannot be read."""
        commits = git.run(self.root, "rev-list", "--first-parent", "--reverse", head)
        return [parse_entry(self._text(commit)) for commit in commits.splitlines()]

    def _text(self, commit: str) -> str:
        return git.ask(self.root, "cat-file", "blob", f"{commit}:{FILE}") or ""


def warn(why: RefitError | str) -> None:
    """Say that the ledger could not be anchored; the entry counts all the same."""
    print(f"warning: the ledger was not anchored in Git: {why}", file=sys.stderr, flush=True)


def _links(
    entries: Sequence[tuple[int, Entry]], signatures: Mapping[int, str], algorithm: str
) -> Iterator[Link]:
    parent = ""
    for number, entry in entries:
        text = signatures.get(number, "")
        signature = text if git_signatures.well_formed(text) else ""
        blob = GitObject(kind="blob", content=entry.text().encode(), algorithm=algorithm)
        listing = f"100644 {FILE}\0".encode() + bytes.fromhex(blob.id)
        tree = GitObject(kind="tree", content=listing, algorithm=algorithm)
        parents = [each for each in (parent, entry.replaces) if each]
        content = _commit(entry, tree.id, parents, signature, algorithm)
        commit = GitObject(kind="commit", content=content, algorithm=algorithm)
        parent = commit.id
        yield Link(number=number, entry=entry, signature=signature, objects=(blob, tree, commit))


def _commit(
    entry: Entry, tree: str, parents: Sequence[str], signature: str, algorithm: str
) -> bytes:
    identity = f"{git.NAME} <{git.MAIL}> {_seconds(entry)} +0000"
    lines = [
        f"tree {tree}",
        *(f"parent {parent}" for parent in parents),
        f"author {identity}",
        f"committer {identity}",
    ]
    if signature:
        lines.append(f"{HEADERS[algorithm]} " + signature.replace("\n", "\n "))
    about = "no version" if entry.version is None else f"version {entry.version}"
    return "\n".join([*lines, "", f"{entry.kind}: {about}\n"]).encode()


def _signature(commit: str, algorithm: str) -> str:
    """The signature in a commit's text."""
    headers = commit.partition("\n\n")[0]
    _, _, rest = headers.partition(f"\n{HEADERS[algorithm]} ")
    return rest.replace("\n ", "\n")


def _identity(entry: Entry) -> dict[str, str]:
    return {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (
            ("NAME", git.NAME),
            ("EMAIL", git.MAIL),
            ("DATE", f"@{_seconds(entry)} +0000"),
        )
    }


def _seconds(entry: Entry) -> int:
    """The entry's time as Git stores it."""
    return max(0, int(entry.moment.timestamp()))
