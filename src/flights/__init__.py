"""The example dataset: flights from New York in 2013, and whether they arrive late.

A user of Refit replaces this package: `tables` (schemas of the raw tables), `ingest` (the source of
the months), `examples` (raw tables to examples) and `about` (texts for the model card). The other
modules compute the features that `examples` joins.
"""
