"""Table by kind of the results in results/<label>.csv, on the sets that all labels have.

python report.py before after
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "results"
COLUMNS = ["ratio", "ratio_each", "coverage_80", "ratio_special", "coverage_special", "train_seconds"]


def main() -> None:
    results = {label: pd.read_csv(FOLDER / f"{label}.csv", index_col="set") for label in sys.argv[1:]}
    shared = set.intersection(*(set(table.index) for table in results.values()))
    for label, table in results.items():
        chosen = table[table.index.isin(shared)]
        kind = chosen.index.str.split("/").str[0]
        means = chosen[COLUMNS].groupby(kind, sort=False).mean().round(3)
        means.insert(0, "sets", chosen.groupby(kind).size())
        print(f"\n{label}\n{means.to_string()}")


if __name__ == "__main__":
    main()
