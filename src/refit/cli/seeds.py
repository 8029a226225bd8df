"""`refit seeds`: what the policy must know of the noise between retrains."""

from typing import Annotated

import typer

from refit.cli.terminal import at_root, console

app = typer.Typer()


@app.command()
def seeds(
    retrains: Annotated[
        int, typer.Option(help="Trainings, each with another seed.", min=3, max=100)
    ] = 6,
) -> None:
    """Retrain with other seeds, and say how far that alone moves the holdout's loss.

    The standard deviation belongs into `promote.seed_deviation`. It varies with the season: measure
    it after several retrainings, and keep their root mean square.
    """
    from refit.promotion import seed_noise as measure

    found = []
    for each in measure.retrains(at_root(), retrains):
        found.append(each)
        console.print(f"seed {each.seed}: {each.loss:.6f}")
    console.print(f"seed_deviation: {measure.deviation(found):.2g}")
