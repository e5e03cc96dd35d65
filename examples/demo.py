"""Forecast a day of departures from New York's airports, and evaluate the forecasts of the last week.

    python examples/demo.py [folder]

The model is trained on all but the last seven days of the embedded data and compared with seasonal naive on these days.
The folder, ``demo`` by default, then holds a report page (report.html) and the forecast of the next day (forecast.csv).
"""

import sys
from pathlib import Path

import pandas as pd

from s5forecast import S5Forecaster, backtest, load_dataset
from s5forecast.evaluation import SeasonalNaivePredictor, leaderboard
from s5forecast.plotting import write_report

WINDOWS, HORIZON, WEEK = 7, 24, 168
HEADINGS = {
    "WQL": "WQL",
    "MASE": "MASE",
    "sMAPE": "sMAPE",
    "coverage_80": "coverage of 80 %",
    "fit_seconds": "seconds to fit",
    "predict_seconds": "seconds to predict",
}


def main(folder: Path) -> pd.DataFrame:
    df = load_dataset("nyc_departures_hourly")
    held_out = df["timestamp"].max() - pd.Timedelta(hours=WINDOWS * HORIZON)
    forecaster = S5Forecaster(prediction_length=HORIZON, freq="h", static=["origin", "carrier"])
    forecaster.fit(df[df["timestamp"] <= held_out])

    s5 = forecaster.backtest(df, windows=WINDOWS)
    naive = backtest(
        SeasonalNaivePredictor(HORIZON, season=WEEK),
        forecaster.to_gluonts(df),
        prediction_length=HORIZON,
        windows=WINDOWS,
        name="seasonal naive (168 h)",
    )
    backtests = {s5.name: s5, naive.name: naive}
    table = leaderboard(backtests)
    forecast = forecaster.predict(df)

    folder.mkdir(parents=True, exist_ok=True)
    forecast.to_csv(folder / "forecast.csv", index=False)
    page = write_report(
        backtests,
        folder / "report.html",
        title="Hourly departures from New York's airports",
        history=df,
        forecast=forecast,
        note="Seasonal naive repeats the week before, with Gaussian intervals from its own residuals. "
        "Data: US Bureau of Transportation Statistics, 2013, 20 pairs of airport and carrier.",
    )
    shown = table.rename(columns=HEADINGS).rename_axis(None)
    print(f"\nForecasts of the last {WINDOWS} days, each from all hours before it:\n")
    print(shown.to_string(float_format="{:.3f}".format, na_rep="-"))
    gain = 1 - table["WQL"].iloc[0] / table["WQL"].iloc[1]
    print(f"\n{s5.name} has a {gain:.0%} lower WQL than {naive.name}.")
    print(f"Report: {page}\nForecast of the next day: {folder / 'forecast.csv'}")
    return table


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
