"""Texts for the model cards."""

from refit.dataset_card import About

ABOUT = About(
    title="Whether a pump fails",
    intended_use="To test a pipeline; never to run <b>a pump</b>.",
    limits=("Made of random numbers.",),
)
