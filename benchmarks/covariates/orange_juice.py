"""What do prices and promotions gain for weekly sales of orange juice, and what do GluonTS's networks gain from them?

The data are the sales of 11 brands in 83 supermarkets of Chicago over 121 weeks from June 1990 on, the table
``orangeJuice$yx`` of the R package bayesm ("Creating Micro-Marketing Pricing Strategies Using Supermarket Scanner
Data", Montgomery, 1997), written by ``write.csv(bayesm::orangeJuice$yx, "orange_juice.csv", row.names = FALSE)``. Three
windows of eight weeks at the end are forecast. ``orange_juice.csv`` beside this script has one row for each model, kind
and seed; existing rows are kept, so that an interrupted run continues.

    python benchmarks/covariates/orange_juice.py --data orange_juice.csv --seeds 3
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from comparison import Task, add_arguments, run

CSV = Path(__file__).with_name("orange_juice.csv")
# Weeks end on Wednesdays.
FIRST_WEEK, FREQ = pd.Timestamp("1989-09-20"), "W-WED"
PLAN = ["price", "coupon", "advertised"]
STATIC = ["store", "brand"]
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "static": {"static": STATIC},
    "past plan": {"past": PLAN},
    "known plan": {"known": PLAN},
    "holidays": {"holidays": "US"},
    "all": {"static": STATIC, "known": PLAN, "holidays": "US"},
}


def sales(path: Path) -> pd.DataFrame:
    """Sales of each brand in each store, with a row for each week; weeks without a record are missing."""
    table = pd.read_csv(path)
    prices = table[[f"price{brand}" for brand in range(1, 12)]].to_numpy()
    found = pd.DataFrame(
        {
            "store": "store " + table["store"].astype(str),
            "brand": "brand " + table["brand"].astype(str),
            "week": table["week"],
            "target": np.exp(table["logmove"]),
            "price": prices[np.arange(len(table)), table["brand"] - 1],
            "coupon": table["deal"],
            "advertised": table["feat"],
        }
    )
    last = found["week"].max()
    weeks = found.groupby(STATIC)["week"].min().map(lambda first: range(first, last + 1)).explode().astype(int)
    complete = weeks.reset_index().merge(found, how="left", on=[*STATIC, "week"])
    stamps = FIRST_WEEK + pd.to_timedelta(7 * (complete["week"] - 1), unit="D")
    return complete.drop(columns="week").assign(item_id=complete["store"] + ", " + complete["brand"], timestamp=stamps)


def task(path: Path) -> Task:
    return Task(sales(path), freq=FREQ, horizon=8, windows=3, kinds=KINDS, epochs=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CSV file of the table orangeJuice$yx")
    add_arguments(parser, list(KINDS))
    arguments = parser.parse_args()
    run(task(arguments.data), CSV, arguments)
