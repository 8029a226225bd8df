"""`refit review` and `compare`: what a person needs to judge a version."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from refit.cli.terminal import SafeConsole, at_root, console

if TYPE_CHECKING:
    from refit.review.build import Review

app = typer.Typer()

NAME = "a number, an alias such as `@champion`, an MLflow run, or a commit"
AsText = Annotated[bool, typer.Option("--text", help="Print the review instead of writing a page.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where to write the HTML page.", metavar="FILE"),
]
Show = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


@app.command()
def review(
    version: Annotated[
        str | None,
        typer.Argument(help=f"The version: {NAME}; by default, the newest."),
    ] = None,
    text: AsText = False,
    output: Output = None,
    show: Show = False,
) -> None:
    """Write everything that a reviewer needs about a version as one HTML page, or print it.

    Verdict and gates, the comparison with its rival, calibration and ROC, slices, what changed,
    data, lineage and model card. The page can be read offline.
    """
    from refit.registry import resolve
    from refit.registry.registry import Registry
    from refit.review import build
    from refit.review.publish import file_name

    here = Path.cwd()
    root = at_root()
    registry = Registry.open(root)
    result = build.review_version(root, registry, resolve.find(root, registry, version))
    _show(result, here / (output or file_name(result.version)), text=text, show=show)


@app.command()
def compare(
    old: Annotated[str, typer.Argument(help=f"One version: {NAME}.", metavar="A")],
    new: Annotated[
        str, typer.Argument(help="Another version, named in the same way.", metavar="B")
    ],
    text: AsText = False,
    output: Output = None,
    show: Show = False,
) -> None:
    """Compare any two versions on the same unseen rows: how B differs from A.

    The comparison is printed, or written as a page with `--output`.
    """
    from refit.registry import resolve
    from refit.registry.registry import Registry
    from refit.review import build

    here = Path.cwd()
    root = at_root()
    registry = Registry.open(root)
    versions = [resolve.find(root, registry, name) for name in (old, new)]
    result = build.compare_versions(root, registry, *versions)
    page = output or Path(f"compare-{versions[0].number}-{versions[1].number}.html")
    _show(result, here / page, text=text or (output is None and not show), show=show)


def _show(result: "Review", page: Path, *, text: bool, show: bool) -> None:
    """Print the review, or write its page and open it."""
    if text:
        from refit.review.terminal import print_review

        print_review(result, SafeConsole(highlight=False))
        return
    from refit.core import files
    from refit.review.html import render

    files.write_text(page, render(result))
    console.print(escape(f"{result.sentence}\nThe review: {page}"))
    for piece in result.missing:
        console.print(escape(f"missing: {piece}"), style="yellow")
    if show:
        webbrowser.open(page.resolve().as_uri())
