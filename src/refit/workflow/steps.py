"""A whole run, step by step: ingest, the stages of dvc.yaml, promote.

Both callers walk the same steps: the Prefect flow makes each one a task, and `--no-server` a line
in the terminal. A step is run before the next one is asked for.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from refit import dataset
from refit.core import params, paths
from refit.core.errors import PipelineError
from refit.pipeline import ingest
from refit.pipeline.dvc import Pipeline, open_pipeline
from refit.pipeline.stage_output import OnOutput, Outcome
from refit.promotion import decide, policy


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What became of a step."""

    name: str
    outcome: Outcome
    reason: str
    seconds: float
    report: str = ""
    """Markdown, of the step that decides."""
    waiting: int | None = None
    """The version that waits for a person's answer, after the step that decides."""
    ask: str = ""
    """How to answer."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that can be run once."""

    name: str
    run: Callable[[OnOutput], StepResult]


def steps(root: Path, *, until: str | None = None, force: bool = False) -> Iterator[Step]:
    """The steps of a run, each to be run before the next is taken.

    Args:
        root: of the project.
        until: ingest up to this partition first (see refit.pipeline.ingest); None ingests nothing.
        force: run every stage, changed or not.
    """
    if until is not None:
        yield Step(name="ingest", run=lambda on_output: _ingest(root, until, on_output))
    # Promotion reads what the stages left: it stays under the lock, lest another run replace it.
    with open_pipeline(root) as pipeline:
        for stage in pipeline.stages():
            yield _stage(pipeline, stage, force=force)
        yield Step(name="promote", run=lambda _: _promote(pipeline, root))


def promote_only(root: Path) -> decide.Decision:
    """Decide about what the pipeline left, if that is what the workspace makes.

    Raises:
        PipelineError: something has changed since.
    """
    with open_pipeline(root) as pipeline:
        _require_deterministic(pipeline, root)
        _require_unchanged(pipeline)
        decision = decide.decide(root)
        _published(root, decision)
        return decision


def nothing_to_do(root: Path) -> tuple[StepResult, ...]:
    """The results of a run in which everything is cached; empty when something must run."""
    with open_pipeline(root) as pipeline:
        started = time.monotonic()
        if pipeline.changes():
            return ()
        names = pipeline.stages()
        seconds = (time.monotonic() - started) / max(len(names), 1)
        _require_deterministic(pipeline, root)
        decided = _decide(root)
    cached = (
        StepResult(name=name, outcome=Outcome.CACHED, reason="", seconds=seconds) for name in names
    )
    return (*cached, decided)


def _stage(pipeline: Pipeline, stage: str, *, force: bool) -> Step:
    def run(on_output: OnOutput) -> StepResult:
        result = pipeline.run(stage, on_output=on_output, force=force)
        return StepResult(
            name=stage, outcome=result.outcome, reason=result.reason, seconds=result.seconds
        )

    return Step(name=stage, run=run)


def _ingest(root: Path, until: str, on_output: OnOutput) -> StepResult:
    """Bring partitions; a schedule's `next` asks nothing of a dataset that has no source."""
    started = time.monotonic()
    name = params.dataset_name(root / paths.PARAMS)
    if until == ingest.NEXT and dataset.ingest(name) is None:
        return StepResult(
            name="ingest",
            outcome=Outcome.CACHED,
            reason=f"the dataset {name} has no source: its rows are put into {paths.RAW} by hand",
            seconds=time.monotonic() - started,
        )
    added = ingest.ingest(root, until=until, on_progress=lambda name: on_output(f"added {name}"))
    return StepResult(
        name="ingest",
        outcome=Outcome.COMPLETED if added else Outcome.CACHED,
        reason=f"added {', '.join(added)}" if added else "",
        seconds=time.monotonic() - started,
    )


def _promote(pipeline: Pipeline, root: Path) -> StepResult:
    _require_deterministic(pipeline, root)
    _require_unchanged(pipeline)
    return _decide(root)


def _decide(root: Path) -> StepResult:
    started = time.monotonic()
    decision = decide.decide(root)
    where = _published(root, decision)
    return StepResult(
        name="promote",
        outcome=Outcome.CACHED if decision.cached else Outcome.COMPLETED,
        reason=decision.sentence,
        seconds=time.monotonic() - started,
        report=f"{decision.report}\n{where}" if where else decision.report,
        waiting=decision.version if decision.waits else None,
        ask=decision.ask(),
    )


def _published(root: Path, decision: decide.Decision) -> str:
    """Log the review of a decision that has none yet; says where it is."""
    if decision.reviewed:
        return ""
    from refit.registry.registry import Registry
    from refit.review.publish import publish

    return publish(root, Registry.open(root), decision.version, decision.key)


def _require_unchanged(pipeline: Pipeline) -> None:
    """A version must be what its commit makes: nothing may have changed since the stages ran."""
    changes = pipeline.changes()
    if changes:
        raise PipelineError(
            "the workspace is not what the candidate was made of",
            got="; ".join(f"{name}: {', '.join(why)}" for name, why in changes.items()),
            do="run `refit run`, which brings the stages up to date and then decides",
        )


def _require_deterministic(pipeline: Pipeline, root: Path) -> None:
    several = {stage: count for stage, count in pipeline.results().items() if count > 1}
    if several and not policy.read(root).accept_several_results:
        raise PipelineError(
            "the same inputs have given different results, so the candidate cannot be made again",
            got="; ".join(f"{stage}: {count} results" for stage, count in several.items()),
            expected="one result of each stage",
            do="find what is random in the stage (`refit reproduce` shows what differs), or set"
            " `promote.accept_several_results: true` in params.yaml",
        )
