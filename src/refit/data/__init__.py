"""From raw partitions to prepared arrays: partitions, validation, drift, split, encoder.

In: Parquet files of raw tables, and the dataset's schemas and roles. Out: valid rows, examples
split by time, and the arrays that a model reads.
"""
