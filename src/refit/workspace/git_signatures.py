"""Signatures of commits by Git's own mechanism, with SSH or GPG keys.

Git signs with `user.signingkey` in the format `gpg.format`. SSH keys are looked up in the project's
`allowed_signers`, if it has that file, otherwise in the file that `gpg.ssh.allowedSignersFile` of
Git's configuration names; GPG keys in the keyring, where they must be trusted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refit.core import paths
from refit.core.errors import SetupError
from refit.workspace import git

GOOD = "G"
MEANINGS = {
    "G": "valid",
    "U": "of a key that is not among the allowed signers, or not trusted",
    "B": "not of this entry",
    "N": "missing, or cannot be checked",
    "E": "of a key that is not known here",
    "X": "expired",
    "Y": "of a key that has expired",
    "R": "of a key that was revoked",
}
"""What Git's letter for a signature says."""
HOW = (
    "`git config gpg.format ssh`, `git config user.signingkey ~/.ssh/id_ed25519.pub`, and a line"
    ' `MAIL namespaces="git" KEY` in the file allowed_signers of the project, with the mail of'
    " `git config user.email`"
)
MAIL = re.compile(r"<([^<>]*)>\s*$")
SIGNATURE = re.compile(r"-----BEGIN [A-Z ]+-----\n[\x20-\x7e\n]+")
LONGEST = 20_000
"""Characters of a signature."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What Git says of a commit's signature."""

    letter: str
    signer: str
    """Name or mail of the key's owner, as the list of keys has it."""

    @property
    def is_good(self) -> bool:
        """Whether an allowed signer made it, over this content."""
        return self.letter == GOOD

    def is_of(self, who: str) -> bool:
        """Whether the signer is the person: the same mail, or the same text without a mail."""
        return self.is_good and _mail(self.signer) == _mail(who)

    def __str__(self) -> str:
        return f"valid, by {self.signer}" if self.is_good else MEANINGS.get(self.letter, "unknown")


def well_formed(text: str) -> bool:
    """Whether a stored text can be a signature; it goes into a commit as it is."""
    return len(text) <= LONGEST and SIGNATURE.fullmatch(text) is not None


def wanted(root: Path) -> bool:
    """Whether the user lets Git sign every commit: `commit.gpgSign`."""
    return git.ask(root, "config", "--type=bool", "commit.gpgSign") == "true"


def commit_signed(
    root: Path, tree: str, parents: Sequence[str], message: str, identity: Mapping[str, str]
) -> str:
    """Make a signed commit object; returns its id.

    Raises:
        SetupError: there is no key, or it cannot be used.
    """
    ancestry = [word for parent in parents for word in ("-p", parent)]
    utf8 = ("-c", "i18n.commitEncoding=UTF-8")
    try:
        return git.run(
            root, *utf8, "commit-tree", "-S", tree, *ancestry, stdin=message, more=identity
        )
    except SetupError as error:
        raise SetupError(
            "the entry cannot be signed",
            where=str(root),
            got=str(error),
            expected="a key that Git can sign with",
            do=HOW,
        ) from error


def read(
    root: Path, commits: Sequence[str], more: Mapping[str, str] | None = None
) -> dict[str, Signature]:
    """The signature of each commit."""
    if not commits:
        return {}
    own = root / paths.ALLOWED_SIGNERS
    signers = ("-c", f"gpg.ssh.allowedSignersFile={own}") if own.is_file() else ()
    form = "--format=%H%x00%G?%x00%GS"
    command = ("log", "--no-walk=unsorted", "--no-show-signature", form, "--stdin")
    lines = git.run(root, *signers, *command, stdin="\n".join(commits) + "\n", more=more)
    parts = (line.split("\0") for line in lines.split("\n") if line.count("\0") == 2)
    return {commit: Signature(letter=letter, signer=signer) for commit, letter, signer in parts}


def _mail(person: str) -> str:
    match = MAIL.search(person)
    return (match[1] if match else person).strip().casefold()
