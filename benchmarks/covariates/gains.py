"""Prints a table of a CSV file of departures.py or orange_juice.py: what each kind of covariate gains over none.

Gains are the reductions of WQL relative to the same model and seed without covariates: the mean over the seeds, and the
smallest and largest one.

    python benchmarks/covariates/gains.py departures.csv orange_juice.csv
"""

import argparse
from pathlib import Path

import pandas as pd

NAMES = {"s5": "S5Forecaster", "tft": "TFT", "deepar": "DeepAR"}


def gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Gain over none in percent, a column for each seed and a row for each model and kind."""
    table = rows.pivot_table("WQL", ["model", "covariates"], "seed", sort=False)
    none = table.xs("none", level="covariates").reindex(table.index, level="model")
    return 100 * (1 - table / none)


def as_markdown(rows: pd.DataFrame) -> str:
    """A row for each kind, with the mean WQL and the gain of each model."""
    gained = gains(rows)
    mean = rows.groupby(["model", "covariates"])["WQL"].mean()
    models, kinds = rows["model"].unique(), rows["covariates"].unique()
    seeds = rows.groupby("model")["seed"].nunique()
    heads = [f"{NAMES[model]}, {seeds[model]} {'seed' if seeds[model] == 1 else 'seeds'}" for model in models]
    lines = ["| columns | " + " | ".join(heads) + " |", "|---" * (len(models) + 1) + "|"]
    for kind in kinds:
        cells = [_cell(mean, gained, model, kind) for model in models]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(mean: pd.Series, gained: pd.DataFrame, model: str, kind: str) -> str:
    if (model, kind) not in mean.index:
        return ""
    wql = f"{mean[model, kind]:.3f}"
    if kind == "none":
        return wql
    found = gained.loc[(model, kind)].dropna()
    limits = f" ({_signed(found.min())} to {_signed(found.max())})" if len(found) > 1 else ""
    return f"{wql}, {_signed(found.mean())} %{limits}"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    for file in parser.parse_args().files:
        print(f"{file}\n{as_markdown(pd.read_csv(Path(__file__).with_name(file)))}\n")
