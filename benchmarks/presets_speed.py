"""How long do the presets train, relative to the default?

    python benchmarks/presets_speed.py

Processor seconds of one thread for each preset on embedded data, in turns and after a first training that loads the
kernels; medians of three rounds for the fast preset and the default, one for best.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from timing import save

from s5forecast import S5Forecaster, load_dataset

DATA = {"nyc_departures_hourly": (24, "h"), "nyc_weather_hourly": (24, "h")}
ROUNDS = {"fast": 3, "default": 3, "best": 1}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of absent timestamps
    rows = []
    for name, (horizon, freq) in DATA.items():
        df = load_dataset(name)
        S5Forecaster(horizon, freq, verbose=False, estimator_kwargs={"max_epochs": 1}).fit(df)
        seconds: dict[str, list[float]] = {preset: [] for preset in ROUNDS}
        for number in range(max(ROUNDS.values())):
            for preset in (preset for preset, rounds in ROUNDS.items() if number < rounds):
                began = time.process_time()
                S5Forecaster(horizon, freq, preset=preset, verbose=False).fit(df)
                seconds[preset].append(time.process_time() - began)
        medians = {preset: float(np.median(found)) for preset, found in seconds.items()}
        rows += [
            {"data": name, "preset": preset, "seconds": value, "seconds_over_default": value / medians["default"]}
            for preset, value in medians.items()
        ]
        save(rows, "presets_speed")


if __name__ == "__main__":
    main()
