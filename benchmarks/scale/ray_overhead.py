"""What does a prediction by two Ray workers cost on one machine, compared with one process?

The series and the model are those of ``predict.py``. A fresh process starts Ray with two CPUs and forecasts 20 series,
which is the start-up. It then forecasts 20 series and all of them in turns, with files as input and output. One process
does the same without Ray. Wall and processor seconds are the least of the turns; processor seconds are those of the
process and of all that it started. The difference between all series and 20 is the steady state. The time of 20 series
is what a call costs once Ray runs: it counts and shuffles the rows and starts the workers, each in new processes. Two
workers and Ray's own processes share two processor cores, so that the result is an overhead and not an acceleration.

    pip install -c constraints.txt ".[ray]"
    python benchmarks/scale/ray_overhead.py [--series 10000 100000] [--rounds 3] [--folder /tmp/s5forecast-ray]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import json
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pandas as pd
import psutil
from predict import train, write_rows

RESULTS = Path(__file__).with_suffix(".csv")
FEW, WORKERS = 20, 2
ONE, RAY = "one process", "Ray, two workers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s5forecast-ray"))
    parser.add_argument("--measure", choices=(ONE, RAY), help="used by the script itself")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = [FEW, *arguments.series]
    if arguments.measure:
        print(json.dumps(measured(arguments.measure, sizes, arguments.rounds, arguments.folder)))
        return
    if not (arguments.folder / "model").exists():
        train(arguments.folder / "model")
    for series in sizes:
        write_rows(arguments.folder / str(series), series, "series")
    rows = []
    for way in (ONE, RAY):
        command = [sys.executable, __file__, *sys.argv[1:], "--measure", way]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows += json.loads(found.stdout.splitlines()[-1])
    pd.DataFrame(rows).to_csv(RESULTS, index=False)
    print(pd.DataFrame(rows).to_string(index=False))


def measured(way: str, sizes: list[int], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Seconds of the start-up, and the least of the calls for each number of series."""
    from s5forecast import S5Forecaster

    forecaster = S5Forecaster.load(folder / "model", "cpu")
    forecaster.verbose = False

    def call(series: int) -> None:
        output = folder / "forecasts"
        shutil.rmtree(output, ignore_errors=True)
        forecaster.predict(data[way](folder / str(series)), output=output)

    data: dict[str, Callable[[Path], Any]] = {ONE: str, RAY: of_ray}
    starts = [lambda: call(FEW)] if way == ONE else [start_ray, lambda: call(FEW)]
    start = seconds(lambda: [run() for run in starts])
    rows = [{"way": way, "what": "start-up", "series": FEW, "seconds": start[0], "cpu_seconds": start[1]}]
    turns = [[seconds(lambda series=series: call(series)) for series in sizes] for _ in range(rounds)]
    for series, spent in zip(sizes, zip(*turns, strict=True), strict=True):
        wall, processor = map(min, zip(*spent, strict=True))
        rows.append({"way": way, "what": "call", "series": series, "seconds": wall, "cpu_seconds": processor})
    return rows


def of_ray(rows: Path) -> Any:
    import ray

    from s5forecast import RayData

    return RayData(ray.data.read_parquet(str(rows)), workers=WORKERS)


def start_ray() -> None:
    import ray

    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # of the workers
    ray.init(
        num_cpus=WORKERS, object_store_memory=2**30, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    ray.data.DataContext.get_current().enable_progress_bars = False


def seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Wall seconds, and processor seconds of this process and of all that it started."""
    with Sampled() as sampled:
        wall, processor = time.perf_counter(), sampled.total()
        run()
        return round(time.perf_counter() - wall, 2), round(sampled.total() - processor, 2)


class Sampled:
    """Processor seconds of this process and its descendants, five times a second.

    The system does not add the seconds of Ray's workers that have ended to those of a process that runs on.
    """

    def __enter__(self) -> Sampled:
        self._seconds: dict[psutil.Process, float] = {}
        self._ended = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def total(self) -> float:
        """Of all processes that have been seen."""
        this = psutil.Process()
        for one in [this, *this.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                self._seconds[one] = sum(one.cpu_times()[:2])
        return sum(list(self._seconds.values()))

    def _sample(self) -> None:
        while not self._ended.wait(0.2):
            self.total()


if __name__ == "__main__":
    main()
