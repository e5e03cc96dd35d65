"""Script that Lightning runs in two processes: trains a forecaster in a folder, and writes its forecasts."""

import os
import sys
from pathlib import Path

import pandas as pd
from test_forecaster_processes import TWO, forecaster

folder, rank = Path(sys.argv[1]), os.environ.get("LOCAL_RANK", "0")
data = folder / "rows.parquet"
if sys.argv[2] == "different" and rank == "1":
    pd.read_parquet(data).iloc[:-1].to_parquet(data.with_name("other.parquet"))
    data = data.with_name("other.parquet")
f = forecaster(4, strategy="ddp", **TWO).fit(data, validation=data)
f.predict(data).to_parquet(folder / f"{rank}.parquet")
