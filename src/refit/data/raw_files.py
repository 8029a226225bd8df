"""The files of data/raw, checked by name and kind before anything opens one.

A partition is data/raw/TABLE/NAME.parquet. Opening a pipe or a device may never end, and a name
with control characters cannot be printed, so both are refused. A link to a regular file counts as
one: DVC makes such links where its `cache.type` is `symlink`. Files of other types are left alone.
"""

import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from refit.core.errors import DataError

SUFFIX = ".parquet"
LONGEST = 100
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")
EXPECTED = (
    f"regular files TABLE/NAME{SUFFIX}; a name has at most {LONGEST} letters (a-z, A-Z), digits,"
    " dots, dashes and underscores, begins with a letter or a digit, and sorts in the order of time"
)
LIKE_A_PARTITION = re.compile(r"\.parquet\W*\Z", re.IGNORECASE)
DEPTH = 2
"""Of a partition below data/raw."""
LISTED = 50
"""Problems that an error lists."""
SHOWN = 60
"""Characters of a name that an error shows."""
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
FILE, FOLDER = KINDS[stat.S_IFREG], KINDS[stat.S_IFDIR]


def tables(raw: Path) -> dict[str, tuple[str, ...]]:
    """The partitions of each table that has a folder, sorted: by name is by time.

    Raises:
        DataError: an entry below the folder, at any depth, is no regular file, or is named nearly
            like a partition; the error lists all.
    """
    return _checked(raw, _entries(raw, raw))


def partitions(folder: Path) -> tuple[str, ...]:
    """The partitions of the table in this folder, sorted; raises as `tables` does."""
    by_table = _checked(folder.parent, _entries(folder, folder.parent))
    return by_table.get(folder.name, ())


def is_name(text: str) -> bool:
    """Whether a partition can have this name."""
    return NAME.fullmatch(text) is not None


def shown(text: str) -> str:
    """A name as an error shows it: escaped, and cut where it is long."""
    return ascii(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _checked(raw: Path, entries: Iterator[tuple[Path, str]]) -> dict[str, tuple[str, ...]]:
    """The partitions by table; raises one DataError about all other entries that are wrong."""
    names: dict[str, list[str]] = defaultdict(list)
    problems = []
    for path, kind in sorted(entries):
        problem = _problem(path, kind)
        if problem:
            problems.append(f"{shown(path.as_posix())} ({problem})")
        elif kind == FILE and path.suffix == SUFFIX:
            names[path.parent.name].append(path.stem)
        elif kind == FOLDER and len(path.parts) == 1:
            names[path.name]
    if problems:
        more = f" and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise DataError(
            f"{len(problems)} entr{'ies' if len(problems) > 1 else 'y'} cannot be read as data",
            where=str(raw),
            got=", ".join(problems[:LISTED]) + more,
            expected=EXPECTED,
            do=f"rename or delete {'them' if len(problems) > 1 else 'it'}",
        )
    return {table: tuple(sorted(stems)) for table, stems in names.items()}


def _problem(path: Path, kind: str) -> str:
    """What is wrong with the entry; '' where it may be there."""
    if kind not in {FILE, FOLDER}:
        return f"a {kind}"
    if not LIKE_A_PARTITION.search(path.name):
        return ""
    if kind == FOLDER:
        return "a folder"
    if len(path.parts) != DEPTH:
        return "not in the folder of a table"
    if path.suffix != SUFFIX or not is_name(path.stem):
        return "its name"
    return "" if is_name(path.parent.name) else "the name of its folder"


def _entries(folder: Path, raw: Path) -> Iterator[tuple[Path, str]]:
    """Every entry below the folder, by its path below `raw`, with its kind; none is opened."""
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield folder.relative_to(raw), f"folder that cannot be read: {error.strerror}"
        return
    for path in paths:
        kind = _kind(path)
        yield path.relative_to(raw), kind
        if kind == FOLDER:
            yield from _entries(path, raw)


def _kind(path: Path) -> str:
    """What the entry is, or what a link leads to. DVC does not follow links to folders."""
    try:
        kind = KINDS.get(stat.S_IFMT(path.stat().st_mode), "special file")
    except OSError:
        return "link to nothing"
    return "link to a folder" if kind == FOLDER and path.is_symlink() else kind
