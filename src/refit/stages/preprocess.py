"""Stage `preprocess`: data/validated -> data/prepared (examples, split, encoder, arrays)."""

import shutil
from pathlib import Path

from refit import dataset, encode, prepared, rawdata
from refit.core import params
from refit.preprocess import PreprocessParams, check_examples, split

VALIDATED = Path("data/validated")


def main() -> None:
    """Build the examples, split them by time, fit the encoder on train, encode every part."""
    settings = params.read(PreprocessParams, "preprocess")
    name = params.dataset_name()
    roles = dataset.roles(name)
    raw = {table.name: rawdata.joined(VALIDATED, table) for table in dataset.tables(name)}
    examples = check_examples(dataset.build(name)(raw), roles)
    parts = split(examples, roles, settings)
    encoder = encode.fit(
        parts["train"], roles, quantiles=settings.quantiles, min_count=settings.min_count
    )
    shutil.rmtree(prepared.PREPARED, ignore_errors=True)
    for part, rows in parts.items():
        arrays = prepared.Arrays(
            numeric=encoder.encode_numeric(rows),
            categorical=encoder.encode_categorical(rows),
            target=encoder.encode_target(rows[roles.target]),
        )
        prepared.write_part(prepared.PREPARED, part, rows, arrays)
        months = rows["partition"].unique().sort()
        print(f"{part}: {rows.height:,} examples, {months[0]} to {months[-1]}")
    prepared.write_description(prepared.PREPARED, roles, encoder)
