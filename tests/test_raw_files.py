"""Files among the partitions that are none: each is named in one error, and nothing hangs."""

import os
import socket
from pathlib import Path
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from refit.core import files
from refit.core.errors import DataError
from refit.data import footer, partitions, raw_files
from refit.dataset import Table
from refit.pipeline import ingest
from refit.pipeline.dvc import open_pipeline
from refit.workflow import doctor, status
from refit.workspace import memory

GOOD = ("2013-01", "part-000001", "2024-01-01T00.00.00Z", "a", "9", "x_y", "a" * 100)
BAD = (
    "two\nlines",
    "\n",
    "tab\t",
    "bell\x07",
    "escape\x1b[31m",
    "nul{}",
    "brace{0}",
    "back\\slash",
    "turned\u202eround",
    "joined\u200dup",
    "mark\ufeff",
    "uml\u00e4ut",
    "digits-\u0661\u0662",
    "two words",
    " leading",
    "trailing ",
    "-option",
    ".hidden",
    "_under",
    "star*",
    "quote'",
    "dollar$(id)",
    "semi;colon",
    "a" * 101,
    "a" * 240,
    "",
)
NEARLY = ("a.PARQUET", "a.Parquet", "a.parquet ", "a.parquet\n", "a.parquet\u202e")
LEFT_ALONE = (".gitignore", ".a.parquet.77.part", "README.md", "a.csv", "a.parquet.bak")


def table(root: Path, name: str = "flights") -> Path:
    """The folder of a table with one good partition."""
    files.write_parquet(pl.DataFrame({"a": [1]}), root / name / "2013-01.parquet")
    return root / name


def refused(raw: Path) -> str:
    """The paragraph with which both ways to ask for the partitions refuse."""
    with pytest.raises(DataError) as caught:
        raw_files.tables(raw)
    text = str(caught.value)
    assert text.isprintable(), text
    with pytest.raises(DataError) as again:
        raw_files.partitions(raw / "flights")
    assert str(again.value) == text
    return text


def test_names_sort_and_other_files_are_left_alone(tmp_path: Path) -> None:
    """Names of the pattern are partitions, in order; hidden files and other types stay unread."""
    folder = table(tmp_path)
    for name in GOOD:
        (folder / f"{name}.parquet").touch()
    for name in LEFT_ALONE:
        (folder / name).touch()
    assert raw_files.tables(tmp_path) == {"flights": tuple(sorted(GOOD))}
    assert raw_files.partitions(folder) == tuple(sorted(GOOD))
    assert raw_files.partitions(tmp_path / "nowhere") == ()
    assert raw_files.tables(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("name", [*(f"{name}.parquet" for name in BAD), *NEARLY])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    """A name outside the pattern is shown escaped; the error says which names are right."""
    (table(tmp_path) / name).touch()
    text = refused(tmp_path)
    assert "1 entry cannot be read as data" in text
    assert ascii(f"flights/{name}"[:60])[1:-1] in text
    assert "begins with a letter or a digit" in text


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A name of bytes that are not UTF-8 is shown escaped."""
    path = os.fsencode(table(tmp_path)) + b"/caf\xe9.parquet"
    os.close(os.open(path, os.O_CREAT))
    assert r"'flights/caf\udce9.parquet' (its name)" in refused(tmp_path)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def make_loop(path: Path) -> None:
    path.symlink_to(path.parent)


SPECIAL = {
    "named pipe": make_pipe,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("gone"),
    "link to a folder": make_loop,
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["2013-02.parquet", "notes"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    """Pipes, sockets, devices, broken links and links to folders are refused without being opened."""
    SPECIAL[kind](table(tmp_path) / name)
    if (kind, name) == ("folder", "notes"):
        assert raw_files.tables(tmp_path) == {"flights": ("2013-01",)}
    else:
        assert f"'flights/{name}' (a {kind})" in refused(tmp_path)


def test_rows_elsewhere_are_refused(tmp_path: Path) -> None:
    """A Parquet file beside the tables, or deeper than a table's folder, is not silently unread."""
    folder = table(tmp_path)
    for place in (tmp_path / "2013-02.parquet", folder / "year=2013/2013-02.parquet"):
        files.write_parquet(pl.DataFrame({"a": [1]}), place)
        with pytest.raises(DataError, match=r"not in the folder of a table"):
            raw_files.tables(tmp_path)
        place.unlink()
    table(tmp_path, "two words")
    with pytest.raises(DataError, match=r"the name of its folder"):
        raw_files.tables(tmp_path)


def test_links_to_regular_files_count(tmp_path: Path) -> None:
    """A link to a regular file is a partition, as DVC makes them with `cache.type: symlink`."""
    (table(tmp_path) / "2013-02.parquet").symlink_to("2013-01.parquet")
    assert raw_files.tables(tmp_path) == {"flights": ("2013-01", "2013-02")}


def test_one_error_lists_all(tmp_path: Path) -> None:
    """All bad entries stand in one error."""
    folder = table(tmp_path)
    make_pipe(folder / "pipe.parquet")
    for number in range(20):
        (folder / f"bad {number}.parquet").touch()
    text = refused(tmp_path)
    assert "21 entries cannot be read as data" in text
    assert all(f"'flights/bad {number}.parquet'" in text for number in range(20))
    assert "'flights/pipe.parquet' (a named pipe)" in text


def test_nothing_that_asks_dvc_hangs(pumps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, doctor and a run give the error before DVC opens a pipe or an endless device."""
    monkeypatch.chdir(pumps.root)
    folder = pumps.root / "data/raw/readings"
    make_pipe(folder / "pipe.parquet")
    (folder / "zero").symlink_to("/dev/zero")
    words = r"2 entries cannot be read as data.*'readings/pipe\.parquet' \(a named pipe\)"
    with pytest.raises(DataError, match=words), open_pipeline(pumps.root):
        pass
    with pytest.raises(DataError, match=words):
        status.status(pumps.root)
    check = doctor._state("Git and DVC", lambda: doctor._pipeline(pumps.root))
    assert not check.ok
    assert "'readings/zero' (a device)" in check.detail


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("command", ["ingest", "status", "doctor", "run --no-server", "promote"])
def test_no_command_hangs(parcels: Any, command: str) -> None:
    """Every command that reads data/raw, and the stage itself, name the pipe and end."""
    parcels.call("refit", "ingest", "--until", "week-1")
    make_pipe(parcels.root / "data/raw/parcels/week-0.parquet")
    for call in (("refit", *command.split()), ("python", "-m", "refit", "validate")):
        done = parcels.call(*call, check=False)
        shown = " ".join(f"{done.stdout}{done.stderr}".split())
        assert done.returncode == 1, shown
        assert "week-0.parquet' (a named pipe)" in shown
        assert "Traceback" not in shown


def test_a_source_cannot_name_what_no_file_can_be_named(
    parcels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names that a dataset's source offers are checked before one becomes a path."""
    monkeypatch.syspath_prepend(str(parcels.root / "src"))
    source = type("Source", (), {"partitions": staticmethod(lambda: ("week-1", "../../x", "\x1b"))})
    with pytest.raises(DataError, match=r"2 partitions of the source .*'\.\./\.\./x', '\\x1b'"):
        ingest._offered("parcels", source)  # type: ignore[arg-type]


def write_equal_rows(path: Path, rows: int) -> None:
    """So many equal rows, in row groups of four million."""
    path.parent.mkdir(parents=True, exist_ok=True)
    group = pa.table({"cycle": pa.array([0]).take(pa.array([0] * 4_000_000))})
    with pq.ParquetWriter(path, group.schema, compression="zstd") as writer:
        for start in range(0, rows, group.num_rows):
            writer.write_table(group.slice(0, min(group.num_rows, rows - start)))


def test_many_rows_in_a_small_file_are_refused(tmp_path: Path) -> None:
    """The footer's row count is held against the free memory, and the file is named."""
    path = tmp_path / "t/bomb.parquet"
    write_equal_rows(path, 20_000_000)
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError) as caught:
        footer.require_memory([path], free=2**30)
    text = str(caught.value)
    assert "20,000,000 rows need more memory than is free" in text
    assert str(path) in text
    assert "Expected at most 1.0 GiB" in text
    footer.require_memory([path], free=2**33)


@pytest.mark.slow
@pytest.mark.heavy
def test_a_stage_survives_a_bomb(pumps: Any) -> None:
    """Rows that need more memory than there is end the stage in one paragraph."""
    rows = memory.free() // footer.WORKING
    write_equal_rows(pumps.root / "data/raw/readings/part-9.parquet", rows)
    pumps.call("dvc", "add", "-q", "data/raw")
    done = pumps.call("python", "-m", "refit", "validate", check=False)
    assert done.returncode == 1, done.stderr
    assert "rows need more memory than is free" in done.stderr
    assert "part-9.parquet" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([1, 2, None], dtype=pl.Int64),
        pl.Series([1, 2, 3], dtype=pl.Int8),
        pl.Series([True, None, False]),
        pl.Series([1.5, None, 2.5], dtype=pl.Float32),
        pl.Series([f"{number:0500}" for number in range(3000)]),
        pl.Series([b"%0500d" % number for number in range(3000)]),
        pl.Series([1, 2, 3]).cast(pl.Datetime("us", "UTC")),
        pl.Series([1, 2, 3]).cast(pl.Date),
        pl.Series(["1.5", "2", "3"]).cast(pl.Decimal(20, 2)),
        pl.Series([[1, 2], [3], []]),
        pl.Series(["a", "b", "a"], dtype=pl.Categorical),
    ],
    ids=lambda column: str(column.dtype),
)
def test_the_footer_announces_no_less_than_the_rows_take(tmp_path: Path, column: pl.Series) -> None:
    """What the footer announces is at least the size of the table in memory."""
    frame = pl.concat([pl.DataFrame({"a": column})] * (3000 // len(column)))
    files.write_parquet(frame, tmp_path / "a.parquet")
    found = footer.read(tmp_path / "a.parquet")
    assert found.rows == 3000
    assert found.needed >= frame.estimated_size()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"PK\x03\x04" * 100])
def test_a_file_without_a_footer_is_named(tmp_path: Path, data: bytes) -> None:
    """An empty file, or one of another type, is named with what to do."""
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    for read in (footer.read, files.read_parquet):
        with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
            read(path)


@pytest.mark.parametrize("name", ["partition", "row", "rules"])
def test_columns_of_the_engine_are_refused(tmp_path: Path, name: str) -> None:
    """A raw file with a column that Refit adds names table, column and fix."""
    folder = tmp_path / "sales"
    files.write_parquet(pl.DataFrame({"id": [1], name: ["x"]}), folder / "one.parquet")
    schema = pandera.DataFrameSchema({"id": pandera.Column(pl.Int64)})
    sales = Table(name="sales", schema=schema, key=("id",), time="id")
    with pytest.raises(DataError, match=rf"one\.parquet: table `sales` .*Got {name}\. .*rename"):
        partitions.read(tmp_path, sales)
