"""A small dataset for the tests."""
