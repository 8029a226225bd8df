"""What a stage prints, and what happens when it fails."""

import json
import os
from typing import Any

import pytest

from refit.core.errors import PipelineError
from refit.pipeline import stage_process
from refit.pipeline.dvc import open_pipeline
from refit.pipeline.stage_output import TAIL, Outcome

# `gate NAME`: wait until the file is there; give up after ten seconds.
GATE = "gate() { for i in $(seq 9000); do [ -e $1 ] && return; sleep 0.02; done; exit 9; }"


def stages(command: str) -> str:
    """A stage that works, then one with the command."""
    return f"""\
stages:
  before:
    cmd: echo before >> ran; cat params.yaml > before.out
    params: [a]
    outs: [before.out]
  tested:
    cmd: {json.dumps(command)}
    deps: [before.out]
    outs: [out]
"""


def lines_of(repository: Any, command: str) -> list[str]:
    repository.define(stages(command))
    lines: list[str] = []
    with open_pipeline(repository.root) as pipeline:
        pipeline.run("before", on_output=lines.append)
        assert pipeline.run("tested", on_output=lines.append).outcome == Outcome.COMPLETED
    return lines


def error_of(repository: Any, command: str) -> str:
    repository.define(stages(command))
    with pytest.raises(PipelineError) as caught:
        repository.run()
    return str(caught.value)


def test_lines_arrive_while_the_stage_runs(repository: Any, capfd: Any) -> None:
    """Each line of both streams is handed on in order and immediately, and printed nowhere else."""
    seen: list[str] = []

    def on_output(line: str) -> None:
        seen.append(line)
        if line in {"out 1", "err 1"}:
            repository.write(f"heard {line}".replace(" ", "."), "")

    repository.define(
        stages(
            f"{GATE}; echo out 1; gate heard.out.1; echo err 1 >&2; gate heard.err.1;"
            " echo out 2; echo err 2 >&2; echo > out; printf last"
        )
    )
    with open_pipeline(repository.root) as pipeline:
        pipeline.run("before", on_output=on_output)
        pipeline.run("tested", on_output=on_output)
        assert seen == ["out 1", "err 1", "out 2", "err 2", "last"]
        pipeline.run("tested", on_output=on_output)
    assert len(seen) == 5, "a cached stage prints nothing"
    assert tuple(capfd.readouterr()) == ("", "")


def test_lines_of_a_python_stage_arrive_while_it_runs(
    repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that a Python stage prints without flushing arrive immediately and in order."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    program = "import sys; print('out 1'); print('err', file=sys.stderr); print('out 2')"
    command = f'echo > out; .venv/bin/python -c "{program}"'
    assert lines_of(repository, command) == ["out 1", "err", "out 2"]


def test_much_and_strange_output_arrives(repository: Any) -> None:
    """More output than a pipe holds, progress bars and invalid UTF-8 do not block a stage."""
    lines = lines_of(
        repository, r"seq 20000; printf 'a\rb\n'; printf '\377\n' >&2; printf 'ä\n\n'; echo > out"
    )
    assert lines[:20000] == [str(number) for number in range(1, 20001)]
    assert lines[20000:] == ["a", "b", "\N{REPLACEMENT CHARACTER}", "ä", ""]


def test_a_stage_of_several_commands_is_one_stage(repository: Any) -> None:
    """The lines of all its commands arrive; the first command that fails ends it."""
    repository.define(stages("echo 1; echo > out\necho 2"))
    lines: list[str] = []
    with open_pipeline(repository.root) as pipeline:
        pipeline.run("before", on_output=lines.append)
        pipeline.run("tested", on_output=lines.append)
    assert lines == ["1", "2"]
    assert error_of(repository, "echo one\nfalse\necho three") == (
        "stage tested failed: one\n(its command ended with status 1)."
    )


LAST = "\n".join(map(str, range(6, TAIL + 6))) + "\n(its command ended with status 1)."
PARAGRAPH = "data/raw: 3 rows are wrong. Got 7. Expected 5. To fix it: look."
REFIT = ".venv/bin/python -m refit"
KILLED = ".venv/bin/python -c 'import os; os.kill(os.getpid(), 9)'"
UNNAMED = "one stage must be named. Got nothing. Expected one of "
REPORTING = """\
import sys
from refit.core import run_record
from refit.core.run_record import RunRecord
print("noise")
run_record.send(RunRecord(stage="x", pid=1, started=0.0, ended=1.0, status=1, error=sys.argv[1]))
sys.exit(1)
"""


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (f"echo noise; .venv/bin/python report.py '{PARAGRAPH}'", PARAGRAPH),
        (f".venv/bin/python report.py '{PARAGRAPH}' || exit 3", PARAGRAPH),
        ("echo one; echo two >&2; exit 3", "one\ntwo\n(its command ended with status 3)."),
        (".venv/bin/python report.py ''", "noise\n(its command ended with status 1)."),
        (f"seq {TAIL + 5}; exit 1", LAST),
    ],
    ids=[
        "its report",
        "the report of a program that it ran",
        "last lines",
        "an empty report",
        "only the last lines",
    ],
)
def test_a_failed_stage_says_why(repository: Any, command: str, error: str) -> None:
    """The error is the one that the stage's process reported, otherwise its last lines."""
    repository.write("report.py", REPORTING)
    assert error_of(repository, command) == f"stage tested failed: {error}"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (f"exec {REFIT}", UNNAMED),
        (f"exec sh -c 'exec {REFIT}'", UNNAMED),
        (f"{REFIT} && true", "the run that started this stage has ended."),
    ],
    ids=["exec", "a shell that execs", "a shell between run and stage"],
)
def test_a_stage_of_refit_reports_its_error(repository: Any, command: str, error: str) -> None:
    """`python -m refit` reports its paragraph and prints it, too."""
    lines: list[str] = []
    repository.define(stages(command))
    with open_pipeline(repository.root) as pipeline:
        pipeline.run("before", on_output=print)
        with pytest.raises(PipelineError) as caught:
            pipeline.run("tested", on_output=lines.append)
    assert str(caught.value).startswith(f"stage tested failed: {error}")
    assert "\n" not in str(caught.value)
    assert lines[-1].startswith(f"refit: {error}")


def test_output_of_c_code_arrives(repository: Any) -> None:
    """What a library writes to the file descriptors themselves is handed on, in order."""
    program = "import os; os.write(1, b'out\\n'); os.write(2, b'err\\n'); print('last')"
    assert lines_of(repository, f'echo > out; .venv/bin/python -c "{program}"') == [
        "out",
        "err",
        "last",
    ]


@pytest.mark.parametrize("shell", ["/bin/bash", None])
def test_the_user_s_shell_runs_the_commands(
    repository: Any, monkeypatch: pytest.MonkeyPatch, shell: str | None
) -> None:
    """A command finds the user's shell and $SHELL as `dvc repro` shows them to it."""
    if shell is None:
        monkeypatch.delenv("SHELL", raising=False)
    else:
        monkeypatch.setenv("SHELL", shell)
    command = 'echo "$0 $SHELL" > out; env | grep -c ^SHELL= >> out || true'
    lines_of(repository, command)
    ours = repository.read("out")
    repository.dvc("repro", "--force")
    assert repository.read("out") == ours
    assert os.environ.get("SHELL") == shell
    assert not list((repository.root / ".dvc/tmp").glob("refit-stage-*"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("exit 3", ["ended with status 3"]),
        ("kill -9 $$", ["ended by SIGKILL", "memory ran out"]),
        (f"exec {KILLED}", ["ended by SIGKILL", "memory ran out"]),
        ("sh -c 'kill -9 $$'; exit $?", ["ended by SIGKILL"]),
        ("true", ["out", "does not exist"]),
        ("echo fine; true", ["out", "does not exist"]),
        ("no-such-program", ["no-such-program", "not found"]),
    ],
    ids=[
        "silent",
        "killed",
        "a Python stage killed",
        "its program killed",
        "no output",
        "no output, but lines",
        "no program",
    ],
)
def test_a_stage_that_fails_silently(repository: Any, command: str, words: list[str]) -> None:
    """For a stage that printed no reason, the error says how it ended or what is missing."""
    error = error_of(repository, command)
    assert error.startswith("stage tested failed: ")
    assert [word for word in words if word not in error] == []


@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_a_failure_records_nothing_and_can_be_fixed(repository: Any, door: str) -> None:
    """The failed stage's lock entry stays as it was; after the fix either door finishes the rest."""
    good = "echo tested >> ran; cat before.out > out"
    repository.define(stages(good))
    repository.run()
    before = repository.lock()
    repository.params(2)
    error_of(repository, "echo half > out; exit 1")
    locked = repository.lock()
    assert b"tested" in locked
    assert locked.split(b"tested:")[1] == before.split(b"tested:")[1]
    assert locked.split(b"tested:")[0] != before.split(b"tested:")[0]
    repository.ran()

    repository.define(stages(good))
    repository.through(door)
    assert repository.ran() == ["tested"]
    assert repository.read("out") == "a: 2\n"
    assert repository.run() == {"before": "Cached", "tested": "Cached"}
    repository.params(1)
    assert repository.run() == {"before": "Restored", "tested": "Restored"}
    assert repository.lock() == before


def test_a_first_failure_leaves_the_finished_stages(repository: Any) -> None:
    """Only the stages that succeeded are in dvc.lock."""
    error_of(repository, "exit 1")
    assert b"before:" in repository.lock()
    assert b"tested:" not in repository.lock()
    assert repository.ran() == ["before"]


def test_an_unknown_stage_is_named(repository: Any) -> None:
    """The error names a stage that does not exist."""
    repository.define(stages("echo > out"))
    with (
        open_pipeline(repository.root) as pipeline,
        pytest.raises(PipelineError, match=r"Stage 'absent' not found"),
    ):
        pipeline.run("absent", on_output=print)


def test_an_error_of_the_listener_does_not_harm_the_stage(repository: Any) -> None:
    """The stage runs to its end and is recorded; then the listener's error is raised."""
    repository.define(stages("echo one; sleep 0.2; echo two; echo > out"))

    def listen(line: str) -> None:
        raise ValueError(line)

    with open_pipeline(repository.root) as pipeline:
        pipeline.run("before", on_output=listen)
        with pytest.raises(ValueError, match="one"):
            pipeline.run("tested", on_output=listen)
    assert repository.run() == {"before": "Cached", "tested": "Cached"}


def test_a_background_process_does_not_delay_the_run(
    repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage ends with its own process; what a background process prints later is dropped."""
    monkeypatch.setattr(stage_process, "GRACE", 0.3)
    background = "(while [ ! -e go ]; do sleep 0.1; done; echo late) & echo early; echo > out"
    assert lines_of(repository, background) == ["early"]  # before the file `go` is there
    repository.write("go", "")
