"""A whole run, step by step: ingest, the stages of dvc.yaml, promote.

The Prefect flow makes each step a task; `refit run --no-server` runs the same steps without it.
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
from refit.promotion.decision import Decision
from refit.workflow import unchanged
from refit.workflow.step_result import StepResult


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step; it can be run once."""

    name: str
    run: Callable[[OnOutput], StepResult]


def steps(root: Path, *, until: str | None = None, force: bool = False) -> Iterator[Step]:
    """The steps of a run. Run each one before you take the next.

    Args:
        root: of the project.
        until: ingest up to this partition first (see refit.pipeline.ingest); None ingests nothing.
        force: run every stage, changed or not.
    """
    if until is not None:
        yield Step(name="ingest", run=lambda on_output: _ingest(root, until, on_output))
    # Promotion reads what the stages wrote. It holds the lock, so no other run can replace that.
    with open_pipeline(root) as pipeline:
        if not force:
            pipeline.begin()
        for stage in pipeline.stages():
            yield _stage(pipeline, stage, force=force)
        yield Step(name="promote", run=lambda _: _promote(pipeline, root))


def promote_only(root: Path) -> Decision:
    """Decide about the candidate that the pipeline left.

    Raises:
        PipelineError: the workspace has changed since, so it no longer makes this candidate.
    """
    with open_pipeline(root) as pipeline:
        _require_deterministic(pipeline, root)
        _require_unchanged(pipeline)
        decision = decide.decide(root, compare=True)
        _publish(root, decision)
        return decision


def nothing_to_do(root: Path) -> tuple[StepResult, ...]:
    """The results of a run in which everything is cached; empty when something must run."""
    with open_pipeline(root) as pipeline:
        started = time.monotonic()
        seen = unchanged.look(root, pipeline.looked_at())
        if pipeline.changes():
            return ()
        names = pipeline.stages()
        seconds = (time.monotonic() - started) / max(len(names), 1)
        _require_deterministic(pipeline, root)
        promotion = _decide(root)
        cached = (
            StepResult(name=name, outcome=Outcome.CACHED, reason="", seconds=seconds)
            for name in names
        )
        results = (*cached, promotion)
        if promotion.outcome is Outcome.CACHED and not pipeline.several():
            unchanged.remember(root, seen, results)
    return results


def _stage(pipeline: Pipeline, stage: str, *, force: bool) -> Step:
    def run(on_output: OnOutput) -> StepResult:
        result = pipeline.bring(stage, on_output=on_output, force=force)
        return StepResult(
            name=stage, outcome=result.outcome, reason=result.reason, seconds=result.seconds
        )

    return Step(name=stage, run=run)


def _ingest(root: Path, until: str, on_output: OnOutput) -> StepResult:
    """Ingest partitions; a schedule's `next` does nothing for a dataset without a source."""
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
    decision = decide.decide(root, compare=True)
    location = _publish(root, decision)
    return StepResult(
        name="promote",
        outcome=Outcome.CACHED if decision.cached else Outcome.COMPLETED,
        reason=decision.sentence,
        seconds=time.monotonic() - started,
        report=f"{decision.report}\n{location}" if location else decision.report,
        waiting=decision.version if decision.waits else None,
        ask=decision.ask(),
    )


def _publish(root: Path, decision: Decision) -> str:
    """Log the review of a decision that has none yet; returns where it is."""
    if decision.reviewed:
        return ""
    from refit.registry.registry import Registry
    from refit.review.publish import publish

    return publish(root, Registry.open(root), decision.version, decision.key)


def _require_unchanged(pipeline: Pipeline) -> None:
    """Raise PipelineError if anything changed since the stages ran.

    A version must be what its commit makes.
    """
    changes = pipeline.changes()
    if changes:
        raise PipelineError(
            "the workspace has changed since the candidate was made",
            got="; ".join(f"{name}: {', '.join(why)}" for name, why in changes.items()),
            do="run `refit run`, which brings the stages up to date and then decides",
        )


def _require_deterministic(pipeline: Pipeline, root: Path) -> None:
    """Raise PipelineError if a stage gave different results, unless the policy accepts that."""
    several = {stage: count for stage, count in pipeline.results().items() if count > 1}
    if several and not policy.read(root).accept_several_results:
        raise PipelineError(
            "the same inputs have given different results, so the candidate cannot be reproduced",
            got="; ".join(f"{stage}: {count} results" for stage, count in several.items()),
            expected="one result of each stage",
            do="find what is random in the stage (`refit reproduce` shows what differs), or set"
            " `promote.accept_several_results: true` in params.yaml",
        )
