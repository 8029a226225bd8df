"""The example's dataset: flights from New York in 2013, and whether they arrive late.

What a user of Refit replaces by their own: `tables` (contracts of the raw tables), `ingest` (where
months come from) and `examples` (raw tables into rows to learn from). The other modules are the
features that `examples` puts together.
"""
