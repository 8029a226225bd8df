"""What a person decides: approve, reject, roll back. Each checks the version before it acts.

A version is checked as the registry has it at that moment: its digest, whether it loads, and
whether it still predicts what it predicted for its example rows when it was registered.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from refit.core.errors import RegistryError
from refit.evaluation import release
from refit.promotion import history, policy, registered
from refit.registry import anchoring, reconcile
from refit.registry.entry import Entry, Kind
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import Version
from refit.workspace import git, git_signatures


@dataclass(frozen=True, kw_only=True)
class Move:
    """The effect of a person's decision."""

    sentence: str
    checked: str
    """What was checked before; '' where no version becomes champion."""


def approve(root: Path, number: int, *, why: str, who: str = "", in_form: bool = False) -> Move:
    """Make the version that waits champion.

    Args:
        root: of the project.
        number: of the version.
        why: the reason, may be empty.
        who: decides; the Git identity or login name where it is empty.
        in_form: whether the answer was given in Prefect's form, where nothing can be signed.

    Raises:
        RegistryError: the version does not wait, does not pass the check, or the policy asks for a
            signature and the answer was given in a form.
        SetupError: the answer must be signed, and cannot be.
    """
    signed, sign = _signatures(root, in_form=in_form)
    registry = Registry.open(root)
    with registry.locked():
        confirmed = reconcile.confirmed(registry, signed=signed)
        _require_waiting(confirmed, number)
        version = registry.versions.get(number)
        checked = check(registry, version, confirmed)

        def make(ledger: Ledger) -> Entry:
            _require_waiting(ledger, number)
            entry = _entry(ledger, "approve", root, who, why, version=number, after=number)
            return replace(entry, facts=version.facts)

        reconcile.enter(registry, make, sign=sign)
    return Move(
        sentence=f"Version {number} is champion now.{_release_note(version)}", checked=checked
    )


def reject(root: Path, number: int, *, why: str, who: str = "", in_form: bool = False) -> Move:
    """Let the version that waits wait no longer; the champion stays. Arguments as in `approve`.

    Raises:
        RegistryError: the version does not wait, or as in `approve`.
        SetupError: the answer must be signed, and cannot be.
    """
    signed, sign = _signatures(root, in_form=in_form)
    registry = Registry.open(root)
    with registry.locked():
        reconcile.confirmed(registry, signed=signed)

        def make(ledger: Ledger) -> Entry:
            _require_waiting(ledger, number)
            return _entry(ledger, "reject", root, who, why, version=number, after=ledger.champion)

        ledger = reconcile.enter(registry, make, sign=sign)
    stays = (
        f"version {ledger.champion} stays champion" if ledger.champion else "there is no champion"
    )
    return Move(sentence=f"Version {number} is rejected; {stays}.", checked="")


def rollback(root: Path, to: int | None, *, why: str, who: str = "") -> Move:
    """Make an earlier version champion again.

    On a ledger that was changed by hand or contradicts its anchor, this is a repair, and the entry
    names the damage.

    Args:
        root: of the project.
        to: the version; 0 leaves no champion, None takes the champion before this one.
        why: the reason.
        who: decides; the Git identity or login name where it is empty.

    Raises:
        RegistryError: there is no such version, it was never champion, or it does not pass the
            check.
        SetupError: the answer must be signed, and cannot be.
    """
    signed, sign = _signatures(root)
    registry = Registry.open(root)
    with registry.locked():
        tags = registry.versions.entry_tags()
        anchored = anchoring.standing(registry.anchor, registry.ledger, signed=signed)
        ledger = registry.ledger.read()
        damage = [damage.message for damage in ledger.unrepaired(tags)]
        broken = "; ".join([*damage, *anchored.errors])
        target = _target(ledger, to, any_version=bool(broken))
        version = registry.versions.get(target) if target else None
        checked = check(registry, version, ledger) if version else ""

        def make(ledger: Ledger) -> Entry:
            if broken:
                reason = f"{why} (after {broken})"
                entry = _entry(ledger, "repair", root, who, reason, version=target, after=target)
                return replace(entry, replaces=anchored.given_up)
            if ledger.champion == target:
                raise _already(target)
            return _entry(ledger, "rollback", root, who, why, version=target, after=target)

        enter = reconcile.repair if broken else reconcile.enter
        enter(registry, make, sign=sign, given_up=anchored.given_up)
    if target is None:
        sentence = "There is no champion now: the next candidate must beat the linear baseline."
        return Move(sentence=sentence, checked=checked)
    return Move(
        sentence=f"Version {target} is champion again.{_release_note(version)}", checked=checked
    )


def _release_note(version: Version | None) -> str:
    """That a release fit goes live; '' where the evaluated model does."""
    return f" {release.sentence()}" if version is not None and version.is_release else ""


def answered(root: Path, number: int) -> str:
    """Why a version that waited does so no longer; '' while it waits."""
    ledger = history.read(root)
    if ledger.waiting == number:
        return ""
    return f"version {number} does not wait: {_ended(ledger, number)}"


def check(registry: Registry, version: Version, ledger: Ledger) -> str:
    """Check a version, and return what was checked.

    Raises:
        RegistryError: its bundle is not what was registered, does not load, or predicts something
            else, or its run or tags are not those that the ledger fixed.
    """
    checked = registered.check(registry, version)
    if any(e.facts not in {"", version.facts} for e in ledger.about(version.number)):
        raise registered.refused(
            version, "its run or its tags are not those that it was registered with"
        )
    return checked


def _signatures(root: Path, *, in_form: bool = False) -> tuple[bool, bool]:
    """Whether the policy asks for a signature, and whether to sign."""
    signed = policy.read(root).asks_for_a_signature
    if signed and in_form:
        raise RegistryError(
            "the answer does not count: it is not signed",
            got="an answer in Prefect's form, where there is no key",
            expected="a signature, because promote.approval is `signed`",
            do="answer in a terminal of a clone with `refit approve` or `refit reject`",
        )
    return signed, not in_form and (signed or git_signatures.wanted(root))


def _entry(
    ledger: Ledger,
    kind: Kind,
    root: Path,
    who: str,
    why: str,
    *,
    version: int | None,
    after: int | None,
) -> Entry:
    who = who or git.user(root)
    return ledger.entry(kind, who=who, why=why, version=version, after=after)


def _require_waiting(ledger: Ledger, number: int) -> None:
    if ledger.waiting == number:
        return
    raise RegistryError(
        f"version {number} does not wait for a person",
        got=_ended(ledger, number),
        expected=f"version {ledger.waiting}" if ledger.waiting else "no version: none waits",
        do="`refit history` prints what was decided; `refit rollback --to V` makes an earlier"
        " champion champion again",
    )


def _ended(ledger: Ledger, number: int) -> str:
    """What ended the wait of a version."""
    answers = [
        (place, entry)
        for place, entry in ledger.entries
        if entry.version == number and entry.by_person and entry.kind != "rollback"
    ]
    end = answers[-1] if answers else ledger.end(number)
    if end is None:
        return "it never did"
    place, entry = end
    about = "" if entry.version == number else f" of version {entry.version or 'none'}"
    return f"entry {place} of the ledger: {entry.kind}{about} by {entry.who}"


def _target(ledger: Ledger, to: int | None, *, any_version: bool) -> int | None:
    """The version to go back to; None for no champion."""
    if to == 0:
        return None
    former = ledger.champions()
    if to is None:
        first = next((e for _, e in ledger.entries if e.after == ledger.champion), None)
        to = first.before if first else None
    if to is None or not (to in former or any_version):
        raise RegistryError(
            "there is no champion to go back to" if to is None else f"version {to} was no champion",
            got=f"champions so far: {', '.join(map(str, dict.fromkeys(former))) or 'none'}",
            do="name one of these with --to, or start again without a champion: `--to none`",
        )
    return to


def _already(target: int | None) -> RegistryError:
    return RegistryError(
        f"version {target} is champion already" if target else "there is no champion already",
        do="`refit history` prints what was decided",
    )
