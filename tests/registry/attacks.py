"""Ways to change a registry with nothing but its database, as somebody with a backup tool could.

Each attack gets the open database of a project whose ledger has a promotion of version 1, a wait
and an approval of version 2, and a reproduction of version 2.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred"
BIDI = "ann\u202e\u2066resu"
HTML = "<script>alert(1)</script>"
ELSEWHERE = "file:///tmp/elsewhere"
DEEP = "[" * 100_000
SIGNED = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"


@dataclass(frozen=True)
class Attacker:
    """Somebody who can write the database."""

    database: sqlite3.Connection

    def run(self, sql: str, *values: object) -> list[Any]:
        return self.database.execute(sql, values).fetchall()

    def entries(self) -> dict[int, Fields]:
        rows = self.run(
            "select version, value from model_version_tags"
            " where name = 'pumps-ledger' and key = 'refit.entry' order by version"
        )
        return {number: json.loads(text) for number, text in rows}

    @property
    def last(self) -> int:
        return max(self.entries())

    def text(self, number: int, text: object) -> None:
        """Replace the text of an entry."""
        self.run(
            "update model_version_tags set value = ? where name = 'pumps-ledger'"
            " and key = 'refit.entry' and version = ?",
            text,
            number,
        )

    def tag(self, version: int, key: str, value: object) -> None:
        """Set a tag of a version; None deletes it."""
        place = "name = 'pumps' and version = ? and key = ?"
        self.run(f"delete from model_version_tags where {place}", version, key)
        if value is not None:
            sql = "insert into model_version_tags (name, version, key, value) values ('pumps', ?, ?, ?)"
            self.run(sql, version, key, value)

    def alias(self, name: str, number: object) -> None:
        self.run("delete from registered_model_aliases where alias = ?", name)
        if number is not None:
            sql = (
                "insert into registered_model_aliases (name, alias, version) values ('pumps', ?, ?)"
            )
            self.run(sql, name, number)

    def rewrite(self, change: Callable[[int, Fields], object]) -> None:
        """Change entries, and correct every digest and every mark after that."""
        self.run("delete from model_version_tags where name = 'pumps' and key like 'refit.entry.%'")
        previous = "0" * 64
        for number, entry in self.entries().items():
            change(number, entry)
            entry["previous"] = previous
            text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
            previous = hashlib.sha256(text.encode()).hexdigest()
            self.text(number, text)
            if isinstance(entry["version"], int) and entry["version"] < 2**31:
                self.tag(entry["version"], f"refit.entry.{number}", previous)

    def delete(self, number: int) -> None:
        """Delete an entry with its mark."""
        self.run("delete from model_versions where name = 'pumps-ledger' and version = ?", number)
        self.run(
            "delete from model_version_tags where name = 'pumps-ledger' and version = ?", number
        )
        self.run("delete from model_version_tags where key = ?", f"refit.entry.{number}")

    def append(self, **changes: object) -> None:
        """Append an entry like the last one, with its mark."""
        number, last = self.last, self.entries()[self.last]
        text = json.dumps(last, sort_keys=True, separators=(",", ":"))
        entry = {"kind": "", "version": 2, "why": "", "who": "eve", "at": last["at"]}
        entry |= {"previous": hashlib.sha256(text.encode()).hexdigest()}
        entry |= {"before": last["after"], "after": last["after"], **changes}
        columns = "creation_time, last_updated_time, current_stage, source, status"
        self.run(
            f"insert into model_versions (name, version, {columns})"
            f" select name, {number + 1}, {columns} from model_versions"
            " where name = 'pumps-ledger' and version = ?",
            number,
        )
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        self.run(
            "insert into model_version_tags (name, version, key, value)"
            " values ('pumps-ledger', ?, 'refit.entry', ?)",
            number + 1,
            text,
        )
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.tag(int(entry["version"]), f"refit.entry.{number + 1}", digest)


def _set(number: int | None = None, **changes: object) -> Callable[[Attacker], None]:
    """Rewrite the chain, one entry (or all) with other fields."""

    def attack(attacker: Attacker) -> None:
        attacker.rewrite(
            lambda each, entry: entry.update(changes) if number in {None, each} else None
        )

    return attack


def _last(**changes: object) -> Callable[[Attacker], None]:
    return lambda attacker: _set(attacker.last, **changes)(attacker)


def _text(text: object) -> Callable[[Attacker], None]:
    return lambda attacker: attacker.text(attacker.last, text)


def _tag(key: str, value: object) -> Callable[[Attacker], None]:
    return lambda attacker: attacker.tag(2, key, value)


def _sql(sql: str, *values: object) -> Callable[[Attacker], None]:
    return lambda attacker: attacker.run(sql, *values) and None


def _cut(attacker: Attacker) -> None:
    attacker.delete(attacker.last)
    attacker.run("delete from model_version_tags where key = 'refit.grade'")
    attacker.run("delete from model_version_tags where key like 'refit.reproduced.%'")


def _cut_approval(attacker: Attacker) -> None:
    while attacker.entries()[attacker.last]["kind"] != "wait":
        _cut(attacker)
    attacker.alias("champion", 1)
    attacker.alias("challenger", 2)


def _forged_approval(attacker: Attacker) -> None:
    _cut_approval(attacker)
    attacker.append(kind="approve", after=2)
    attacker.alias("champion", 2)
    attacker.alias("challenger", None)


def _forged(kind: str, version: int, after: int) -> Callable[[Attacker], None]:
    def attack(attacker: Attacker) -> None:
        attacker.append(kind=kind, version=version, after=after)
        attacker.alias("champion", after)
        attacker.alias("challenger", version if kind == "wait" else None)

    return attack


def _decision(value: Callable[[str], str]) -> Callable[[Attacker], None]:
    """Replace the recorded decision of version 2, and its digest in the ledger."""

    def attack(attacker: Attacker) -> None:
        ((key, text),) = attacker.run(
            "select key, value from model_version_tags"
            " where version = 2 and key like 'refit.decision.%'"
        )
        digest = hashlib.sha256(value(text).encode()).hexdigest()
        attacker.tag(2, key, value(text))
        attacker.rewrite(
            lambda _, entry: entry.update(evidence=digest) if entry["kind"] == "wait" else None
        )

    return attack


def _swapped(attacker: Attacker) -> None:
    first, second = (json.dumps(attacker.entries()[number]) for number in (1, 2))
    attacker.text(1, second)
    attacker.text(2, first)


ATTACKS: dict[str, Callable[[Attacker], None]] = {
    "the whole chain rewritten": _set(who="eve"),
    "the chain rewritten from entry 2": _set(2, why="because"),
    "the champion of the chain exchanged": _set(1, kind="wait", after=None),
    "last entry changed with its mark": _last(why="because"),
    "last entry deleted with its mark": _cut,
    "approval deleted, alias moved": _cut_approval,
    "forged approval": _forged_approval,
    "forged rollback": _forged("rollback", 1, 1),
    "forged promotion": _forged("promote", 1, 1),
    "forged repair": _forged("repair", 1, 1),
    "forged wait": _forged("wait", 1, 2),
    "forged reproduction": _forged("reproduce", 1, 2),
    "a forged signature": _sql(
        "insert into model_version_tags (name, version, key, value)"
        " values ('pumps-ledger', 1, 'refit.entry-signature', ?)",
        SIGNED,
    ),
    "last entry changed": _text("{}"),
    "entries exchanged": _swapped,
    "entry row deleted": _sql(
        "delete from model_versions where name = 'pumps-ledger' and version = 2"
    ),
    "entry marked as deleted": _sql(
        "update model_versions set current_stage = 'Deleted_Internal'"
        " where name = 'pumps-ledger' and version = 2"
    ),
    "ledger deleted": _sql("delete from model_versions where name = 'pumps-ledger'"),
    "entry number as text": _sql(
        "update model_versions set version = 'x' where name = 'pumps-ledger' and version = 1"
    ),
    "entry: version as text": _last(version="2"),
    "entry: version as list": _last(version=[2]),
    "entry: version as truth": _last(version=True),
    "entry: version as fraction": _last(version=2.0),
    "entry: version zero": _last(version=0),
    "entry: version none": _last(version=None),
    "entry: huge version": _last(version=10**30),
    "entry: champion as text": _last(after="2"),
    "entry: who as map": _last(who={"name": "eve"}),
    "entry: why as number": _last(why=1),
    "entry: why as null": _last(why=None),
    "entry: evidence as list": _last(evidence=["x"]),
    "entry: unknown kind": _last(kind="crown"),
    "entry: kind as list": _last(kind=["approve"]),
    "entry: unknown field": _last(extra=1),
    "entry: in the future": _last(at="2999-01-01T00:00:00.000+00:00"),
    "entry: before the one before": _last(at="1999-01-01T00:00:00.000+00:00"),
    "entry: time without a zone": _last(at="2024-01-01T00:00:00.000"),
    "entry: no time": _last(at="yesterday"),
    "entry: time as number": _last(at=1),
    "entry: terminal escapes in why": _last(why=ESCAPES),
    "entry: terminal escapes in who": _last(who=ESCAPES),
    "entry: bidi in who": _last(who=BIDI),
    "entry: newline in why": _last(why="good\n   9  2024-01-01 00:00:00  approve"),
    "entry: HTML in why": _last(why=HTML),
    "entry: half a character": _last(why="\ud800"),
    "entry: empty": _text(""),
    "entry: deep JSON": _text(DEEP),
    "entry: deep JSON inside": _text('{"why":' + DEEP),
    "entry: list": _text("[]"),
    "entry: number": _text("1" * 5000),
    "entry: bytes": _text(b"\xff\xfe"),
    "mark abc": _tag("refit.entry.abc", "0" * 64),
    "mark without number": _tag("refit.entry.", "0" * 64),
    "mark below zero": _tag("refit.entry.-1", "0" * 64),
    "mark in other digits": _tag("refit.entry.\u0663", "0" * 64),
    "mark of no entry": _tag("refit.entry.99", "0" * 64),
    "mark changed": _tag("refit.entry.2", "0" * 64),
    "grade raised": _tag("refit.grade", "any-x86"),
    "grade deleted": _tag("refit.grade", None),
    "grade with escapes": _tag("refit.grade", ESCAPES),
    "record of a reproduction changed": _tag("refit.reproduced.machine", "{}"),
    "record of a reproduction added": _tag("refit.reproduced.any-x86", "{}"),
    "difference added": _tag("refit.differs", "{}"),
    "outcome changed": _tag("refit.outcome", "reject"),
    "outcome deleted": _tag("refit.outcome", None),
    "commit changed": _tag("refit.commit", "0" * 40),
    "commit as an option": _tag("refit.commit", "--output=/tmp/x"),
    "ref changed": _tag("refit.ref", "refs/heads/main"),
    "data digest changed": _tag("refit.data", "0" * 64),
    "examples digest changed": _tag("refit.examples", "0" * 64),
    "bundle digest changed": _tag("refit.digest", "0" * 64),
    "unknown tag of Refit": _tag("refit.trusted", "yes"),
    "decision empty": _decision(lambda _: ""),
    "decision deep JSON": _decision(lambda _: DEEP),
    "evidence empty": _decision(lambda text: json.dumps(json.loads(text) | {"evidence": {}})),
    "evidence as list": _decision(lambda text: json.dumps(json.loads(text) | {"evidence": []})),
    "run changed": _sql(
        "update model_versions set run_id = (select run_id from model_versions"
        " where name = 'pumps' and version = 1) || 'x' where name = 'pumps' and version = 2"
    ),
    "run deleted": _sql("update model_versions set run_id = null where name = 'pumps'"),
    "source elsewhere": _sql(
        "update model_versions set source = ? where name = 'pumps' and version = 2", ELSEWHERE
    ),
    "storage elsewhere": _sql(
        "update model_versions set storage_location = ? where name = 'pumps' and version = 2",
        ELSEWHERE,
    ),
    "artifact_uri elsewhere": _sql("update runs set artifact_uri = ?", ELSEWHERE),
    "artifact_uri on the web": _sql("update runs set artifact_uri = 'http://127.0.0.1:9/x'"),
    "experiment elsewhere": _sql(
        "update experiments set artifact_location = ? where name = 'pumps'", ELSEWHERE
    ),
    "version deleted": _sql("delete from model_versions where name = 'pumps' and version = 2"),
    "version number as text": _sql(
        "update model_versions set version = 'x' where name = 'pumps' and version = 1"
    ),
    "time of a version as text": _sql(
        "update model_versions set creation_time = 'soon' where name = 'pumps'"
    ),
    "time of a version impossible": _sql(
        f"update model_versions set creation_time = {10**18} where name = 'pumps'"
    ),
    "alias moved": lambda attacker: attacker.alias("champion", 1),
    "alias deleted": lambda attacker: attacker.alias("champion", None),
    "alias as text": lambda attacker: attacker.alias("champion", "x"),
    "alias of no version": lambda attacker: attacker.alias("champion", 99),
    "challenger named": lambda attacker: attacker.alias("challenger", 1),
}
UNSEEN = {"time of a version impossible"}
"""What no entry fixes: when MLflow says that a version was registered. It is shown as impossible."""
USUAL = {
    "the whole chain rewritten",
    "last entry changed with its mark",
    "approval deleted, alias moved",
    "forged approval",
    "forged rollback",
    "forged repair",
    "entry: version as text",
    "entry: version as list",
    "entry: who as map",
    "entry: in the future",
    "entry: terminal escapes in why",
    "entry: bidi in who",
    "entry: newline in why",
    "entry: deep JSON",
    "mark abc",
    "mark without number",
    "grade raised",
    "outcome changed",
    "commit changed",
    "run changed",
    "evidence empty",
    "artifact_uri elsewhere",
    "artifact_uri on the web",
    "version number as text",
    "time of a version impossible",
}
"""Attacks that are tried in every run of the tests; `make test-all` tries all."""
SHOWN = {"version number as text", "time of a version impossible", "alias as text"}
"""Attacks on what `refit status` shows."""
