"""What does each kind of covariate gain for hourly departures, and what do GluonTS's networks gain from the same?

The departures of 20 airlines and airports of New York in 2013 are joined with the weather of the airport. Seven windows
of 24 hours at the end of the year are forecast by networks that are trained on the data before them. The weather over
the horizon is the measured one, a perfect forecast. ``departures.csv`` has one row for each model, kind and seed;
existing rows are kept, so that an interrupted run continues.

    python benchmarks/covariates/departures.py --seeds 3 --models s5 tft deepar
"""

import argparse
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from s5forecast import S5Forecaster, backtest, load_dataset
from s5forecast.data.holiday_calendar import HolidayCalendar
from s5forecast.estimators.peers import PEERS

CSV = Path(__file__).with_name("departures.csv")
HORIZON, WINDOWS = 24, 7
WEATHER = ["temp", "wind_speed", "visib", "precip"]
# Arguments of S5Forecaster for each kind of covariate.
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "static": {"static": ["origin", "carrier"]},
    "past weather": {"past": WEATHER},
    "known weather": {"known": WEATHER},
    "holidays": {"holidays": "US"},
    "all": {"static": ["origin", "carrier"], "known": WEATHER, "holidays": "US"},
}
# As many steps as the default of S5Estimator, 20 epochs of 50 batches of 32 windows.
PEER_TRAINING = {"trainer_kwargs": {"max_epochs": 20}, "num_batches_per_epoch": 50, "batch_size": 32}


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


def evaluate_s5(df: pd.DataFrame, kind: str, seed: int) -> Any:
    """Backtest of S5Forecaster."""
    model = S5Forecaster(HORIZON, freq="h", seed=seed, verbose=False, **KINDS[kind])
    return model.backtest(df, windows=WINDOWS, metrics=["WQL", "MASE"])


def evaluate_peer(df: pd.DataFrame, kind: str, seed: int, name: str) -> Any:
    """Backtest of a GluonTS estimator with the same columns; gaps are interpolated, which it does not allow."""
    entries, arguments = gluonts_data(df, KINDS[kind], name)
    estimator = PEERS[name]("h", HORIZON, seed=seed, arguments={**PEER_TRAINING, **arguments})
    return backtest(estimator, entries, HORIZON, windows=WINDOWS, metrics=["WQL", "MASE"])


def gluonts_data(df: pd.DataFrame, given: dict[str, Any], name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Entries, and arguments of a GluonTS estimator, for the columns of S5Forecaster.

    GluonTS's DeepAR takes numbers only; it has each holiday as a number, 0 or 1, and no columns of the past.
    """
    static, known, past = (given.get(role, []) for role in ("static", "known", "past"))
    codes = {column: sorted(df[column].unique()) for column in static}
    entries = []
    for item, part in df.groupby("item_id", sort=False):
        filled = part[WEATHER].interpolate(limit_direction="both").to_numpy().T
        weather = dict(zip(WEATHER, filled, strict=True))
        numbers = [weather[column] for column in known]
        entry = {
            "item_id": item,
            "start": pd.Period(part["timestamp"].iloc[0], "h"),
            "target": part["target"].to_numpy(),
        }
        if "holidays" in given:
            rows, labels = HolidayCalendar((given["holidays"],)).covariates(part["timestamp"], None)
            none = next(names for names in labels.values() if names).index("none")
            numbers += [rows[0] != none, rows[1]]
        entry |= {"feat_dynamic_real": np.array(numbers, dtype=np.float32)} if numbers else {}
        entry |= {"past_feat_dynamic_real": np.array([weather[c] for c in past], dtype=np.float32)} if past else {}
        entry |= {"feat_static_cat": [codes[c].index(part[c].iloc[0]) for c in static]} if static else {}
        entries.append(entry)
    count = len(entries[0].get("feat_dynamic_real", ()))
    cardinality = [len(found) for found in codes.values()]
    if name == "deepar":
        categories = {"num_feat_static_cat": len(static), "cardinality": cardinality} if static else {}
        return entries, {"num_feat_dynamic_real": count, **categories}
    dims = {"dynamic_dims": [count] if count else None, "past_dynamic_dims": [len(past)] if past else None}
    return entries, {**dims, "static_cardinalities": cardinality or None}


MODELS = {
    "s5": evaluate_s5,
    "tft": partial(evaluate_peer, name="tft"),
    "deepar": partial(evaluate_peer, name="deepar"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    arguments, df = parser.parse_args(), departures()
    for seed in range(arguments.seeds):
        for model in arguments.models:
            for kind in arguments.kinds:
                if model != "deepar" or kind != "past weather":  # which GluonTS's DeepAR does not take
                    add(model, kind, seed, df)


def add(model: str, kind: str, seed: int, df: pd.DataFrame) -> None:
    """Add a row to the CSV file unless it is there."""
    found = pd.read_csv(CSV) if CSV.exists() else pd.DataFrame()
    if len(found) and ((found["model"] == model) & (found["covariates"] == kind) & (found["seed"] == seed)).any():
        return
    began = perf_counter()
    metrics = MODELS[model](df, kind, seed).metrics.iloc[0]
    row = {"model": model, "covariates": kind, "seed": seed, "WQL": metrics["WQL"], "MASE": metrics["MASE"]}
    row["minutes"] = (perf_counter() - began) / 60
    print(row, flush=True)
    pd.concat([found, pd.DataFrame([row])]).to_csv(CSV, index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
