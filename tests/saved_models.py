"""Read the saved models under ``fixtures`` with their inputs, and repeat their forecasts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from s5forecast import S5Forecaster

FIXTURES = Path(__file__).parent / "fixtures"
LEVELS = [0.1, 0.5, 0.9]
NUM_SAMPLES = 5


def read_input(folder):
    """The content of ``input.json``, as entries and frames."""
    given = json.loads((folder / "input.json").read_text())
    entries = {name: [_entry(one) for one in part] for name, part in given["entries"].items()}
    frames = {name: _frame(columns) for name, columns in given["frames"].items()}
    return {"kind": given["kind"], **entries, **frames}


def write_input(folder, kind, entries=None, frames=None):
    """Write ``input.json``; missing values become null."""
    given = {
        "kind": kind,
        "entries": {name: [_plain_entry(one) for one in part] for name, part in (entries or {}).items()},
        "frames": {name: {column: _plain(df[column]) for column in df} for name, df in (frames or {}).items()},
    }
    (folder / "input.json").write_text(json.dumps(given))


def load(folder):
    """The saved object of a folder, and its input."""
    given = read_input(folder)
    return LOADERS[given["kind"]](folder, given), given


def forecasts(model, given):
    """All forecasts of a model for its input, as arrays by name."""
    return FORECASTS[given["kind"]](model, given)


def _load_predictor(folder, given):
    return Predictor.deserialize(folder / "model")


def _load_stream(folder, given):
    predictor = Predictor.deserialize(folder / "model")
    return type(predictor.stream(given["history"])).load(folder / "stream", predictor)


def _load_forecaster(folder, given):
    return S5Forecaster.load(folder / "model")


def _load_frame_stream(folder, given):
    return S5Forecaster.load(folder / "model").stream(saved=folder / "stream")


def _of_predictor(predictor, given):
    found = list(predictor.predict(given["history"]))
    arrays = {
        "mean": np.stack([one.mean for one in found]),
        "quantiles": np.stack([[one.quantile(level) for level in LEVELS] for one in found]),
    }
    if isinstance(found[0], SampleForecast):
        arrays["samples"] = np.stack([one.samples for one in found])
    return arrays


def _of_stream(stream, given):
    before = stream.predict_quantiles(given["asked"], LEVELS)
    stream.update(given["new"])
    after = stream.predict_quantiles(given["asked_after"], LEVELS)
    return dict(zip(("mean", "quantiles", "mean_after", "quantiles_after"), (*before, *after), strict=True))


def _of_forecaster(forecaster, given):
    asked = {name: given[name] for name in ("future", "times") if name in given}
    arrays = _numbers(forecaster.predict(given["history"], quantile_levels=LEVELS, **asked))
    if forecaster.model in ("autoregressive", "multivariate"):
        arrays |= _numbers(forecaster.predict_samples(given["history"], given.get("future"), NUM_SAMPLES))
    return arrays


def _of_frame_stream(stream, given):
    future = "times" if stream.forecaster.sampling_.kind == "irregular" else "future"
    before = _numbers(stream.predict(quantile_levels=LEVELS, **{future: given["asked"]}))
    after = _numbers(stream.update(given["new"]).predict(quantile_levels=LEVELS, **{future: given["asked_after"]}))
    return before | {f"{name}_after": values for name, values in after.items()}


LOADERS = {
    "predictor": _load_predictor,
    "stream": _load_stream,
    "forecaster": _load_forecaster,
    "frame_stream": _load_frame_stream,
}
FORECASTS = {
    "predictor": _of_predictor,
    "stream": _of_stream,
    "forecaster": _of_forecaster,
    "frame_stream": _of_frame_stream,
}


def _numbers(forecast):
    """The columns of a frame of forecasts, without its keys."""
    keys = ["item_id", "timestamp"]
    return {name: values.to_numpy() for name, values in forecast.drop(columns=keys, errors="ignore").items()}


def _frame(columns):
    frame = pd.DataFrame(columns)
    if "timestamp" in frame and frame["timestamp"].dtype == object:
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], format="ISO8601")
    return frame


def _entry(stored):
    entry = {name: _array(value) if isinstance(value, list) else value for name, value in stored.items()}
    if "start" in entry:
        entry["start"] = pd.Period(entry["start"], entry.pop("freq"))
    return entry


def _array(values):
    if isinstance(values[0], str):
        return np.array(values, dtype="datetime64[ns]")
    return np.array(values, dtype=np.int64 if all(isinstance(value, int) for value in values) else np.float64)


def _plain_entry(entry):
    plain = {name: _plain(value) if isinstance(value, np.ndarray) else value for name, value in entry.items()}
    if "start" in entry:
        plain |= {"start": str(entry["start"]), "freq": entry["start"].freqstr}
    return plain


def _plain(values):
    values = np.asarray(values)
    if values.dtype.kind == "M":
        return values.astype(str).tolist()
    return np.where(pd.isna(values), None, values).tolist()
