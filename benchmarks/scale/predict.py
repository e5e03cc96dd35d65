"""What memory and time does the prediction of many series on disk take?

Daily series of 200 steps are generated: Poisson counts whose rates have a weekly season, a level drawn for each series
from a log-normal distribution, and a slow trend. They are written to Parquet files of 50,000 series, sorted by series,
or with the rows of each file in order of time (``--order time``). A fresh process loads ``S5Estimator`` with default
arguments, trained for two steps, since the weights make no difference for memory and time, and calls
``predict(folder, output=...)`` with a horizon of 14 days. Its peak memory is that above the memory after loading the
model. Finished rows of the results are kept, so that an interrupted run resumes.

    python benchmarks/scale/predict.py [--series 10000 100000 1000000] [--order series] [--folder /tmp/scale]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).with_suffix(".csv")
STEPS, HORIZON, SERIES_PER_FILE = 200, 14, 50_000
SHORT = {"max_epochs": 1, "num_batches_per_epoch": 2}
DAYS = pd.date_range("2024-01-01", periods=STEPS, freq="D")
MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--order", choices=("series", "time"), default="series")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s5forecast-scale"))
    parser.add_argument("--measure", nargs=3, metavar=("MODEL", "ROWS", "OUTPUT"), help="used by the script itself")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.measure:
        print(json.dumps(measured(*arguments.measure)))
        return
    done = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for series in arguments.series:
        if any(row["series"] == series and row["order"] == arguments.order for row in done):
            continue
        row = {"series": series, "order": arguments.order, "steps": STEPS, "horizon": HORIZON}
        done.append({**row, **measure(series, arguments.order, arguments.folder)})
        pd.DataFrame(done).to_csv(RESULTS, index=False)
        print(done[-1], flush=True)


def measure(series: int, order: str, folder: Path) -> dict[str, float]:
    """Generate the rows and predict them in a fresh process."""
    model, rows, output = folder / "model", folder / f"rows-{order}-{series}", folder / "forecasts"
    if not model.exists():
        train(model)
    write_rows(rows, series, order)
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, __file__, "--measure", str(model), str(rows), str(output)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    shutil.rmtree(rows)
    return json.loads(found.stdout.splitlines()[-1])


def measured(model: str, rows: str, output: str) -> dict[str, float]:
    """Peak memory above that after loading the model, and seconds of the parts of a prediction."""
    from s5forecast import S5Forecaster
    from s5forecast.data.disk_data import DiskData

    forecaster = S5Forecaster.load(model, "cpu")
    forecaster.verbose = False
    read, seconds = DiskData.table, {}

    def timed(*given: object) -> object:
        began = time.perf_counter()
        table = read(*given)
        seconds["read_seconds"] = time.perf_counter() - began
        seconds["read_mb"] = peak() - before
        return table

    DiskData.table = timed
    before, began = peak(), time.perf_counter()
    forecaster.predict(rows, output=output)
    wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    written = sum(path.stat().st_size for path in Path(output).iterdir())
    found = {"peak_mb": peak() - before, **seconds, "seconds": wall, "cpu_seconds": used.ru_utime + used.ru_stime}
    return {name: round(value, 1) for name, value in {**found, "output_mb": written / MB}.items()}


def peak() -> float:
    """Peak memory of this process in MiB, without that of the process that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(folder: Path) -> None:
    from s5forecast import S5Forecaster

    frame = values(np.arange(20), np.random.default_rng(0))
    forecaster = S5Forecaster(HORIZON, freq="D", estimator_kwargs=SHORT, verbose=False).fit(frame)
    forecaster.save(folder)


def values(numbers: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of some series, sorted by series and time."""
    level = rng.lognormal(3.0, 1.0, (len(numbers), 1))
    phase = 2 * np.pi * (np.arange(STEPS) / 7 + rng.random((len(numbers), 1)))
    trend = 1 + rng.normal(0, 0.3, (len(numbers), 1)) * np.linspace(0, 1, STEPS)
    rates = level * (1 + 0.4 * np.sin(phase)) * trend.clip(min=0.1)
    items = np.array([f"item_{number:07d}" for number in numbers], dtype=object)
    return pd.DataFrame(
        {
            "item_id": items.repeat(STEPS),
            "timestamp": np.tile(DAYS, len(numbers)),
            "target": rng.poisson(rates).astype(float).ravel(),
        }
    )


def write_rows(folder: Path, series: int, order: str) -> None:
    """Parquet files of the rows, each of some of the series, sorted by series or by time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(series)
    for number, begin in enumerate(range(0, series, SERIES_PER_FILE)):
        frame = values(np.arange(begin, min(begin + SERIES_PER_FILE, series)), rng)
        if order == "time":
            frame = frame.sort_values("timestamp", kind="stable")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table, folder / f"rows-{number:04d}.parquet", row_group_size=2**17)


if __name__ == "__main__":
    main()
