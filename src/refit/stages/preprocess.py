"""Stage `preprocess`: data/validated -> data/prepared, the examples and arrays of each part."""

import os
import shutil
from pathlib import Path

from refit import dataset
from refit.core import params, paths
from refit.core.orphans import DVC_STAGE
from refit.data import partitions, prepared, recorded
from refit.data.encoder import fit_encoder
from refit.data.split import PreprocessParams, check_examples, split
from refit.tasks import catalog


def main() -> None:
    """Build the examples, split them by time, fit the encoder on train, encode every part."""
    settings = params.read(PreprocessParams, "preprocess")
    name = params.dataset_name()
    roles = dataset.roles(name)
    record = recorded.outputs(Path()) if DVC_STAGE in os.environ else None  # by hand: older ones
    tables = {
        table.name: partitions.joined(paths.VALIDATED, table, record)
        for table in dataset.tables(name)
    }
    examples = check_examples(dataset.build(name)(tables), roles)
    parts = split(examples, roles, settings)
    task = catalog.find(roles.task)
    encoder = fit_encoder(
        parts["train"], roles, quantiles=settings.quantiles, min_count=settings.min_count
    )
    shutil.rmtree(paths.PREPARED, ignore_errors=True)
    for part, rows in parts.items():
        arrays = prepared.Arrays(
            numeric=encoder.encode_numeric(rows),
            categorical=encoder.encode_categorical(rows),
            target=task.encode(rows[roles.target], encoder.classes),
        )
        prepared.write_part(paths.PREPARED, part, rows, arrays)
        names = rows[dataset.PARTITION].unique().sort()
        print(f"{part}: {rows.height:,} examples, {names[0]} to {names[-1]}")
    prepared.write_description(paths.PREPARED, roles, encoder)
