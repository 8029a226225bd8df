"""`refit seeds`: measure how far another seed moves the loss."""

from typing import Annotated

import typer

from refit.cli.terminal import at_root, console

app = typer.Typer()


@app.command()
def seeds(
    retrains: Annotated[
        int, typer.Option(help="Number of trainings, each with another seed.", min=3, max=100)
    ] = 6,
) -> None:
    """Train with other seeds, and print how far that alone moves the loss on the holdout.

    Set `promote.seed_deviation` to the standard deviation that this prints. It varies with the
    season: measure it after several retrains, and use their root mean square.
    """
    from refit.promotion import seed_noise

    results = []
    for result in seed_noise.retrains(at_root(), retrains):
        results.append(result)
        console.print(f"seed {result.seed}: {result.loss:.6f}")
    console.print(f"seed_deviation: {seed_noise.deviation(results):.2g}")
