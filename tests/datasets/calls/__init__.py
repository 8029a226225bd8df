"""A tiny dataset of the tests."""
