"""How good are the defaults where data are few? One row per generated data set in results/<label>.csv.

    python run.py --label after --sets 0 20

Existing rows are not computed again, so an interrupted run resumes. ``report.py`` prints the table by kind.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from sets import KINDS, SmallSet, make_set

from s5forecast import make_estimator
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.levels import DECILES

FOLDER = Path(__file__).parent
COLUMNS = (
    "set", "wql", "naive_wql", "ratio", "ratio_each", "coverage_80", "naive_coverage_80", "ratio_special",
    "coverage_special", "train_seconds", "steps", "synthetic_share", "scaling",
)  # fmt: skip
# Arguments of presets without a trainer.
QUIET: dict[str, dict[str, Any]] = {"zero_shot": {"verbose": False}, "fine_tuned": {"verbose": False}}


def main() -> None:
    args = _parser().parse_args()
    torch.set_num_threads(1)
    path = args.results / f"{args.label}.csv"
    args.results.mkdir(exist_ok=True)
    for number in range(*args.sets):
        for kind in args.kind:
            name = f"{kind}/{number}"
            if name in _done(path):
                continue
            row = run(make_set(kind, number), args.preset, json.loads(args.arguments))
            _append(path, row)
            print(*row.values(), flush=True)


def run(data: SmallSet, preset: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Train once on the data before all windows, and evaluate the forecasts of all windows."""
    steps = data.windows * data.prediction_length
    given = {"seed": 0, **QUIET.get(preset, {"trainer_kwargs": {"enable_progress_bar": False}}), **arguments}
    estimator = make_estimator(data.freq, data.prediction_length, preset=preset, **given)
    began = process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor: Any = estimator.train(data.entries(steps))
    seconds = process_time() - began
    actual, ours, naive = _windows(predictor, data)
    losses, naive_losses = _losses(actual, ours), _losses(actual, naive)  # [S]
    inside, naive_inside = _inside(actual, ours), _inside(actual, naive)
    row = {
        "set": data.name,
        "wql": losses.sum() / np.abs(actual).sum(),
        "naive_wql": naive_losses.sum() / np.abs(actual).sum(),
        "ratio": losses.sum() / naive_losses.sum(),
        "ratio_each": np.exp(np.log(losses / naive_losses).mean()),
        "coverage_80": inside.mean(),
        "naive_coverage_80": naive_inside.mean(),
    }
    if data.special is not None:
        row["ratio_special"] = losses[data.special] / naive_losses[data.special]
        row["coverage_special"] = inside[data.special].mean()
    choices = getattr(predictor, "choices", {})
    values = {name: round(float(value), 5) for name, value in row.items() if name != "set"}
    found = {name: choices[name]["value"] for name in ("synthetic_share", "scaling") if name in choices}
    epochs = choices.get("max_epochs", {}).get("value", 0) * getattr(estimator, "num_batches_per_epoch", 0)
    return {"set": data.name, **values, "train_seconds": round(seconds, 1), "steps": epochs, **found}


def _windows(predictor: Any, data: SmallSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values ``[S, W H]``, and quantiles ``[S, W H, Q]`` of the predictor and of seasonal naive."""
    horizon = data.prediction_length
    reference = SeasonalNaivePredictor(horizon)
    actual, ours, naive = [], [], []
    for window in range(data.windows, 0, -1):
        entries = data.entries(window * horizon)
        ahead = slice(-window * horizon, (1 - window) * horizon or None)
        actual.append(np.stack([values[ahead] for values in data.series]))
        ours.append(_quantiles(predictor, entries))
        naive.append(_quantiles(reference, entries))
    return tuple(np.concatenate(parts, axis=1) for parts in (actual, ours, naive))  # type: ignore[return-value]


def _quantiles(predictor: Any, entries: list[dict]) -> np.ndarray:
    if hasattr(predictor, "predict_quantiles"):
        return predictor.predict_quantiles(entries, DECILES)[1]
    forecasts = list(predictor.predict(entries))
    return np.stack([np.stack([one.quantile(level) for level in DECILES], axis=-1) for one in forecasts])


def _losses(actual: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Quantile loss of each series, ``[S]``."""
    error = actual[..., None] - quantiles
    levels = np.array(DECILES)
    return 2 * np.maximum(levels * error, (levels - 1) * error).mean(-1).sum(-1)


def _inside(actual: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    return (quantiles[..., 0] <= actual) & (actual <= quantiles[..., -1])


def _done(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with path.open() as file:
        return {row["set"] for row in csv.DictReader(file)}


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label", required=True, help="name of the CSV file in results/")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--sets", nargs=2, type=int, default=[0, 20], help="first set, and the one after the last")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--arguments", default="{}", help="arguments of the estimator, as JSON")
    parser.add_argument("--results", type=Path, default=FOLDER / "results")
    return parser


if __name__ == "__main__":
    main()
