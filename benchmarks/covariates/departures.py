"""What does each kind of covariate gain for hourly departures, and what do GluonTS's networks gain from the same?

The departures of 20 airlines and airports of New York in 2013 are joined with the weather of the airport. Seven windows
of 24 hours at the end of the year are forecast. The weather over the horizon is the measured one, a perfect forecast;
it ends on the evening of December 30. ``departures.csv`` has one row for each model, kind and seed; existing rows are
kept, so that an interrupted run continues.

    python benchmarks/covariates/departures.py --seeds 3 --models s5 tft deepar
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from comparison import Task, add_arguments, run

from s5forecast import load_dataset

CSV = Path(__file__).with_name("departures.csv")
WEATHER = ["temp", "wind_speed", "visib", "precip"]
STATIC = ["origin", "carrier"]
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "static": {"static": STATIC},
    "past weather": {"past": WEATHER},
    "known weather": {"known": WEATHER},
    "holidays": {"holidays": "US"},
    "all": {"static": STATIC, "known": WEATHER, "holidays": "US"},
}


def departures() -> pd.DataFrame:
    """Departures in local time, with the weather of the airport."""
    weather = load_dataset("nyc_weather_hourly")
    local = weather["timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.tz_localize(None)
    weather = weather.assign(timestamp=local)
    columns = weather.pivot_table("target", ["station", "timestamp"], "variable", observed=True)[WEATHER].reset_index()
    joined = load_dataset("nyc_departures_hourly").merge(
        columns, how="left", left_on=["origin", "timestamp"], right_on=["station", "timestamp"]
    )
    return joined.drop(columns="station")


def task() -> Task:
    return Task(departures(), freq="h", horizon=24, windows=7, kinds=KINDS, epochs=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, list(KINDS))
    run(task(), CSV, parser.parse_args())
