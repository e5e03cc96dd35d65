"""What does it cost to read a long frame and to return a frame of forecasts, beside sorting and the network itself?

Reading 10^6 rows of 10^4 series, sorted and shuffled, is compared with pandas' sort of the shuffled rows by item and
time. From frame to frame, ``S5Forecaster.predict(df)`` is compared with the processor time of its network alone.
Processor time of one thread; candidates take turns, and medians are compared. Peak memory is that of fresh processes
above their memory after importing and loading the model; it includes the frame.

    python benchmarks/frames_speed.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
READ = {"series": 10_000, "steps": 100}
PREDICTED = {"many series": {"series": 20_000, "steps": 200}, "one series": {"series": 1, "steps": 200}}
HORIZON, TRAINING = 24, {"series": 20, "steps": 400}
SHORT = {"max_epochs": 1, "num_batches_per_epoch": 2}
MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "MODEL"), help="used by the script itself")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.peak:
        print(json.dumps(peak(*arguments.peak)))
        return
    from timing import save

    with tempfile.TemporaryDirectory() as folder:
        forecaster = trained()
        forecaster.save(folder)
        rows = [*reading(arguments.repeats), *forecasting(forecaster, arguments.repeats)]
        memory = {case: peak_of(case, folder) for case in ("read sorted", "read shuffled", *PREDICTED)}
    save([{**row, **memory.get(row["case"], {})} for row in rows], "frames_speed")


def long_frame(series: int, steps: int, *, shuffled: bool = False) -> pd.DataFrame:
    """Hourly random values of series that are named by text."""
    items = np.array([f"item_{number:05d}" for number in range(series)], dtype=object)
    frame = pd.DataFrame(
        {
            "item_id": items.repeat(steps),
            "timestamp": np.tile(pd.date_range("2024-01-01", periods=steps, freq="h"), series),
            "target": np.random.default_rng(0).normal(10, 1, series * steps),
        }
    )
    return frame.sample(frac=1, random_state=0, ignore_index=True) if shuffled else frame


def trained() -> object:
    """A forecaster with the default network, trained for two batches."""
    import torch

    from s5forecast import S5Forecaster

    torch.set_num_threads(1)
    return S5Forecaster(HORIZON, freq="h", verbose=False, estimator_kwargs=SHORT).fit(long_frame(**TRAINING))


def reading(repeats: int) -> list[dict]:
    """Reading of rows in both orders, against the sort of the shuffled rows."""
    from s5forecast.data.frames import Columns
    from s5forecast.data.regular_frames import read_frame

    frames = {"sorted": long_frame(**READ), "shuffled": long_frame(**READ, shuffled=True)}
    candidates: dict[str, Callable[[], object]] = {
        f"read {order}": lambda frame=frame: read_frame(frame, Columns()) for order, frame in frames.items()
    }
    candidates["sort"] = lambda: frames["shuffled"].sort_values(["item_id", "timestamp"])
    times = medians(candidates, repeats)
    reference = times.pop("sort")
    return [
        {"case": case, **READ, "seconds": took, "reference": "pandas sort", "reference_seconds": reference,
         "ratio": took / reference}
        for case, took in times.items()
    ]  # fmt: skip


def forecasting(forecaster: object, repeats: int) -> list[dict]:
    """Frame to frame, against the network within it."""
    rows = []
    network, inside = forecaster.predictor_.network, []
    forward = network.forward
    network.forward = lambda *args: timed(lambda: forward(*args), inside)
    for case, size in PREDICTED.items():
        frame, took, alone = long_frame(**size), [], []
        calls = repeats if size["series"] > 1 else 20 * repeats
        for _ in range(calls + 1):
            inside.clear()
            timed(lambda frame=frame: forecaster.predict(frame), took)
            alone.append(sum(inside))
        whole, network_time = median(took[1:]), median(alone[1:])
        rows.append(
            {"case": case, **size, "seconds": whole, "reference": "network", "reference_seconds": network_time,
             "ratio": whole / network_time}
        )  # fmt: skip
    network.forward = forward
    return rows


def medians(candidates: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median processor time of each candidate, after a first call; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats + 1):
        for name, run in candidates.items():
            timed(run, times[name])
    return {name: median(values[1:]) for name, values in times.items()}


def timed(run: Callable[[], object], seconds: list[float]) -> object:
    """The result of a call, whose processor time is appended."""
    began = time.process_time()
    result = run()
    seconds.append(time.process_time() - began)
    return result


def peak_of(case: str, folder: str) -> dict[str, float]:
    """Peak memory of a case in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", case, folder],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak(case: str, folder: str) -> dict[str, float]:
    """Memory above that after loading the model and a first forecast, in MB and in sizes of the frame."""
    from s5forecast import S5Forecaster
    from s5forecast.data.frames import Columns
    from s5forecast.data.regular_frames import read_frame

    forecaster = S5Forecaster.load(folder)
    forecaster.predict(long_frame(**TRAINING))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    if case in PREDICTED:
        frame = long_frame(**PREDICTED[case])
        forecaster.predict(frame)
    else:
        frame = long_frame(**READ, shuffled=case == "read shuffled")
        read_frame(frame, Columns())
    after = resident("VmHWM")
    deep, shallow = (float(frame.memory_usage(deep=deep).sum()) / MB for deep in (True, False))
    return {
        "frame_mb": deep,
        "frame_mb_without_text": shallow,
        "peak_mb": after - before,
        "peak_over_frame": (after - before) / deep,
        "peak_over_frame_without_text": (after - before) / shallow,
    }


def resident(field: str) -> float:
    """Resident memory of this process, VmRSS, or its peak, VmHWM, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


if __name__ == "__main__":
    main()
