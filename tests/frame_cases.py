"""Long frames of five series with forecasters for them, and their copies on disk."""

import numpy as np
import pandas as pd

SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "batch_size": 4, "num_batches_per_epoch": 2,
    "max_epochs": 1, "device": "cpu", "predict_batch_size": 2, "trainer_kwargs": {"enable_progress_bar": False},
}  # fmt: skip
REGULAR = {"prediction_length": 3, "freq": "h", "estimator_kwargs": SMALL, "verbose": False}
NAMES = ["e", "b", "d", "a", "c"]
COVARIATES = {"known": ["price", "event"], "past": ["sales", "weather"], "static": ["size", "shop"]}


def rows(**columns):
    """Rows of five series of different lengths, in random order, with gaps in none."""
    rng = np.random.default_rng(0)
    parts = []
    for number, item in enumerate(NAMES):
        length = 30 + 5 * number
        target = rng.poisson(5 + 4 * np.sin(np.arange(length) * np.pi / 3 + number)) * 10.0**number
        stamps = pd.date_range("2024-01-01", periods=length, freq="h")
        parts.append(pd.DataFrame({"item_id": item, "timestamp": stamps, "target": target, "number": number}))
    df = pd.concat(parts, ignore_index=True).assign(**columns)
    return df.sample(frac=1.0, random_state=1, ignore_index=True)


def with_covariates():
    df = rows()
    rng = np.random.default_rng(2)
    df["price"] = rng.normal(size=len(df))
    df["event"] = rng.choice(["fair", "none", "sale", None], size=len(df))
    df["sales"] = np.where(rng.random(len(df)) < 0.1, np.nan, rng.normal(size=len(df)))
    df["weather"] = pd.Categorical(rng.choice(["rain", "sun"], size=len(df)))
    df["size"] = df["number"] * 1.5
    df["shop"] = df["number"].map({0: "x", 1: "y", 2: "x", 3: "z", 4: None})
    df["weight"] = rng.integers(1, 4, size=len(df))
    return df


def future_of(df, steps=3):
    """The known columns over the horizon of every series, in random order."""
    ends = df.groupby("item_id", sort=False)["timestamp"].max()
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": pd.date_range(end, periods=steps + 1, freq="h")[1:]})
        for item, end in ends.items()
    ]
    future = pd.concat(parts).sample(frac=1.0, random_state=3, ignore_index=True)
    return future.assign(price=np.linspace(-1, 1, len(future)), event=["sale", None, "new"] * len(ends))


def irregular():
    df = rows()
    jitter = pd.to_timedelta(np.random.default_rng(4).integers(0, 3000, len(df)), unit="s")
    return df.assign(timestamp=df["timestamp"] + jitter)


# Rows of each case, and the parameters of its forecaster.
CASES = {
    "text": (rows, REGULAR),
    "inferred frequency": (rows, {**REGULAR, "freq": "infer"}),
    "numbers": (lambda: rows().assign(item_id=lambda df: 7 - df["number"]), REGULAR),
    "categories": (lambda: rows().astype({"item_id": "category"}), REGULAR),
    "two columns": (lambda: rows(shop="x"), {**REGULAR, "item_id": ["shop", "number"]}),
    "one series": (lambda: rows().query("item_id == 'a'").drop(columns="item_id"), REGULAR),
    "time zone": (lambda: rows().assign(timestamp=lambda df: df["timestamp"].dt.tz_localize("Europe/Berlin")), REGULAR),
    "integer times": (lambda: rows().assign(timestamp=lambda df: df["timestamp"].dt.dayofyear * 24
                                            + df["timestamp"].dt.hour), {**REGULAR, "freq": 1}),
    "missing values": (lambda: rows().assign(target=lambda df: df["target"].where(df.index % 7 > 0)), REGULAR),
    "float32": (lambda: rows().astype({"target": "float32"}), REGULAR),
    "integers": (lambda: rows().astype({"target": "int64"}), REGULAR),
    "large offset": (lambda: rows().assign(target=lambda df: df["target"] + 1e12), REGULAR),
    "covariates": (with_covariates, {**REGULAR, **COVARIATES, "weight": "weight"}),
    "holidays": (rows, {**REGULAR, "holidays": "US"}),
    "sample paths": (rows, {**REGULAR, "model": "autoregressive"}),
    "sampled by windows": (rows, {**REGULAR, "estimator_kwargs": {**SMALL, "sampling": "windows"}}),
    "ensemble": (rows, {**REGULAR, "estimator_kwargs": {**SMALL, "num_members": 2}}),
    "pretrained": (rows, {**REGULAR, "preset": "zero_shot", "estimator_kwargs": {"predict_batch_size": 2}}),
    "irregular": (irregular, {"horizon": "4h", "freq": None, "verbose": False, "estimator_kwargs": {
        name: value for name, value in SMALL.items() if name not in ("context_length",)}}),
}  # fmt: skip


def stored(df, path, files=3):
    """The rows in several Parquet files of a folder, of which the frame is the concatenation."""
    path.mkdir(exist_ok=True)
    for number, part in enumerate(np.array_split(np.arange(len(df)), files)):
        df.iloc[part].to_parquet(path / f"{number}.parquet", index=False)
    return path


def asked(name, df):
    """Further arguments of predict in a case."""
    if name == "covariates":
        return {"future": future_of(df)}
    return {"horizon": "3h", "every": "1h"} if name == "irregular" else {}


def equal(found, expected):
    """Check equality to the last digit; datetimes may have another unit."""
    assert list(found) == list(expected)
    pd.testing.assert_frame_equal(
        *(
            frame.assign(**{c: frame[c].astype(frame[c].dtype) for c in frame}).pipe(_in_nanoseconds)
            for frame in (found, expected)
        ),
        check_exact=True,
    )


def _in_nanoseconds(frame):
    times = [name for name in frame if pd.api.types.is_datetime64_any_dtype(frame[name].dtype)]
    return frame.assign(**{name: frame[name].dt.as_unit("ns") for name in times})
