"""How do s5forecast, neuralforecast and GluonTS read, train on and forecast many series on disk?

    pip install -c constraints.txt ".[benchmark]"
    python benchmarks/scale/peers.py [--series 1000 10000 100000] [--libraries s5forecast "GluonTS, Arrow"]

The series are those of ``predict.py``. A fresh process uses a library on 20 series, so that all code is loaded, and
then measures three parts on all series, see ``libraries.py``:

- read: the rows of a ``fit`` that ends after two training steps, for each second;
- gather: the windows of 200 training steps without the network, for each second;
- predict: the series of a prediction from files to files, for each second, with the reading of the rows.

Rates are those of processor time, which other work on the machine changes little; wall times are beside them. Peak
memory is that above the memory after the use of 20 series. A process is stopped after ``--cap`` seconds: the parts
that it finished are kept. Finished rows of the results are kept, so that an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import logging
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from libraries import LIBRARIES
from predict import MB, STEPS, peak, write_rows

RESULTS = Path(__file__).with_suffix(".csv")
GATHERED_STEPS, FEW = 200, 20
# What a part processes.
RATES = {"read": "rows", "gather": "windows", "predict": "series"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--cap", type=float, default=900, help="seconds of a process")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s5forecast-peers"))
    parser.add_argument("--measure", metavar="SERIES", type=int, help="used by the script itself")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.measure:
        measure(arguments.libraries[0], arguments.measure, arguments.folder)
        return
    done = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for series in arguments.series:
        for library in arguments.libraries:
            if any(row["library"] == library and row["series"] == series for row in done):
                continue
            done.append({"library": library, "series": series, "steps": STEPS, **measured(library, series, arguments)})
            pd.DataFrame(done).to_csv(RESULTS, index=False)
            print(done[-1], flush=True)
        shutil.rmtree(arguments.folder / str(series), ignore_errors=True)


def measured(library: str, series: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The results of a fresh process."""
    prepare(library, FEW, arguments.folder)
    began = time.process_time()
    prepare(library, series, arguments.folder)
    row: dict[str, Any] = {"prepare_cpu_seconds": round(time.process_time() - began, 1)}
    files = paths(library, series, arguments.folder)[0].iterdir()
    row["rows_mb"] = round(sum(path.stat().st_size for path in files) / MB, 1)
    command = [sys.executable, __file__, "--measure", str(series), "--libraries", library]
    process = subprocess.Popen(
        [*command, "--folder", str(arguments.folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = process.communicate(timeout=arguments.cap)
        failed = f"failed: {errors.strip().splitlines()[-1]}" if process.returncode else "finished"
    except subprocess.TimeoutExpired:
        process.kill()
        output, failed = process.communicate()[0], "over the cap"
    for line in output.splitlines():
        if line.startswith("{"):
            row |= json.loads(line)
    return {**row, "status": failed}


def prepare(library: str, series: int, folder: Path) -> None:
    """Generate the rows, and convert them to the format of the library, unless they are there."""
    rows, own = paths(library, series, folder)
    if not rows.exists():
        write_rows(rows, series, "series")
    if not own.exists():
        LIBRARIES[library]().prepare(rows, own)


def paths(library: str, series: int, folder: Path) -> tuple[Path, Path]:
    """Folders of the rows, and of the format of the library."""
    return folder / str(series) / "rows", folder / str(series) / library.replace(", ", "-")


def measure(library: str, series: int, folder: Path) -> None:
    """Print the results of each part as soon as it ends."""
    logging.disable(logging.WARNING)
    list(use(library, FEW, folder))
    before = peak()
    for name, amount, spent in use(library, series, folder):
        rate = {f"{RATES[name]}_per_second": amount / spent[f"{name}_cpu_seconds"]}
        found = {**spent, **rate, f"{name}_peak_mb": peak() - before}
        print(json.dumps({name: round(value, 2) for name, value in found.items()}), flush=True)


def use(library: str, series: int, folder: Path) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Train on the series and forecast them: name of each part, what it has processed, and seconds."""
    rows, own = paths(library, series, folder)
    output = folder / "forecasts"
    shutil.rmtree(output, ignore_errors=True)
    model = LIBRARIES[library]()
    yield "read", series * STEPS, seconds("read", lambda: model.fit(rows, own))[1]
    windows, spent = seconds("gather", lambda: model.windows(GATHERED_STEPS))
    yield "gather", windows, spent
    network = Clocked(model.network)
    spent = seconds("predict", lambda: model.predict(rows, output))[1]
    yield "predict", series, {**spent, "network_cpu_seconds": network.seconds, "parameters": network.parameters}


def seconds(name: str, run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result of a function, with its seconds by a clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    found = run()
    return found, {
        f"{name}_seconds": time.perf_counter() - wall,
        f"{name}_cpu_seconds": time.process_time() - processor,
    }


class Clocked:
    """Processor seconds of the calls of a network."""

    def __init__(self, network: Any) -> None:
        self.seconds, self._forward = 0.0, network.forward
        self.parameters = sum(one.numel() for one in network.parameters())
        network.forward = self._timed

    def _timed(self, *arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        found = self._forward(*arguments, **options)
        self.seconds += time.process_time() - began
        return found


if __name__ == "__main__":
    main()
