"""Does a change leave all forecasts bit for bit the same?

    python equality.py record FILE       # before the change
    python equality.py compare FILE      # after the change

Every estimator and every option of the forecaster is trained for a few steps, with a fixed seed, on parts of the
embedded data, on one thread. ``record`` writes all forecasts and tables to an npz file. ``compare`` computes them again
and prints for each ``equal``, if all bits are, or the largest relative difference. It exits with 1 if any differs. Both
must run on the same machine, with the same versions of torch and NumPy.

    python equality.py compare FILE --only direct stream     # the parts whose names begin with one of these
"""

from __future__ import annotations

import argparse
import sys
import warnings
from functools import cache
from time import perf_counter

import numpy as np
import pandas as pd
import torch

from s5forecast import (
    S5AutoregressiveEstimator,
    S5ContinuousEstimator,
    S5Estimator,
    S5Forecaster,
    S5MultivariateEstimator,
    backtest,
    load_dataset,
    regularize,
)
from s5forecast.distributions import DISTRIBUTIONS, choose_output
from s5forecast.estimators import CombinedEstimator, EnsembleEstimator
from s5forecast.estimators.peers import PEERS
from s5forecast.evaluation import (
    BASELINES,
    IRREGULAR_BASELINES,
    ConformalCalibrator,
    calibrate,
    compare,
    interval_coverage,
    pit_histogram,
    reliability,
)

LEVELS = [0.1, 0.5, 0.9]
WIDE = [0.025, *(k / 10 for k in range(1, 10)), 0.975]
H, DAYS = 24, 40
SHORT = {"width": 16, "state_size": 16, "num_batches_per_epoch": 5, "max_epochs": 1, "batch_size": 16, "device": "cpu"}
QUIET = {"trainer_kwargs": {"enable_progress_bar": False}}
REGULAR = {"freq": "h", "prediction_length": H, **SHORT, **QUIET}
METRIC_NAMES = (
    "WQL", "QL", "CRPS", "MASE", "RMSSE", "sMAPE", "MAPE", "MAE", "MSE", "RMSE", "NRMSE", "ND", "MSIS",
    "MAE_coverage", "mean_sum_quantile_loss", "average_mean_scaled_quantile_loss", "sum_error", "PIT", "coverage_80",
    "width_80", "interval_score_80", "pinball_0.9", "reliability_0.9",
)  # fmt: skip
PATH_METRICS = (
    "CRPS", "energy_score", "energy_score_series", "CRPS_sum", "variogram_score", "variogram_score_series"
)  # fmt: skip
DRAWN = {"num_parallel_samples": 10}
CAUSAL = {"layer_kwargs": {"bidirectional": False}, "patch_length": 1, "context_length": 96}
OUTPUTS = {
    "normal": "weather", "student_t": "weather", "laplace": "weather", "mixture": "weather",
    "negative_binomial": "departures", "zero_inflated_negative_binomial": "departures",
    "zero_inflated_poisson": "departures", "poisson": "departures", "gamma": "positive", "log_normal": "positive",
    "hurdle_log_normal": "positive", "truncated_normal": "positive", "beta": "shares",
}  # fmt: skip


@cache
def departures() -> pd.DataFrame:
    """Four series, the last days of summer."""
    df = load_dataset("nyc_departures_hourly")
    df = df[df["item_id"].isin(["EWR_UA", "JFK_B6", "LGA_DL", "LGA_US"])]
    return _last(df[df["timestamp"] < "2013-09-01"], DAYS * 24)


@cache
def weather() -> pd.DataFrame:
    """Four series, with gaps."""
    df = load_dataset("nyc_weather_hourly")
    return _last(df[df["item_id"].isin(["EWR_pressure", "JFK_temp", "LGA_humid", "LGA_pressure"])], DAYS * 24)


@cache
def delays(rows: int = 300) -> pd.DataFrame:
    df = load_dataset("nyc_flight_delays_q1")
    return _last(df[df["item_id"].isin(df["item_id"].unique()[:4])], rows)


@cache
def storms(count: int = 40) -> pd.DataFrame:
    df = load_dataset("atlantic_storms")
    length = df.groupby("item_id")["timestamp"].transform("size")
    df = df[length >= 30]
    return df[df["item_id"].isin(df["item_id"].unique()[:count])].reset_index(drop=True)


def _last(df: pd.DataFrame, rows: int) -> pd.DataFrame:
    return df.groupby("item_id").tail(rows).reset_index(drop=True)


def entries(name: str = "departures", steps: int | None = None) -> list[dict]:
    """GluonTS entries, without the last ``steps`` steps."""
    values = {
        "departures": lambda: departures()["target"],
        "weather": lambda: weather()["target"],
        "growing": lambda: departures().groupby("item_id")["target"].cumsum(),
        "positive": lambda: departures()["target"] + 0.5,
        "shares": lambda: (departures()["target"] + 1) / 100,
    }[name]()
    df = (weather() if name == "weather" else departures()).assign(target=values)
    start = pd.Period(df["timestamp"].iloc[0], "h")
    return [
        {"item_id": item, "start": start, "target": part["target"].to_numpy()[: None if steps is None else -steps]}
        for item, part in df.groupby("item_id")
    ]


def with_features(ahead: bool) -> list[dict]:
    made = []
    for number, one in enumerate(entries(steps=H)):
        known = np.stack([np.sin(np.arange(len(one["target"]) + H) / 12), np.arange(len(one["target"]) + H) % 7 / 7])
        made.append({
            **one,
            "feat_dynamic_real": known if ahead else known[:, :-H],
            "past_feat_dynamic_real": np.sqrt(one["target"])[None],
            "feat_static_cat": [number % 2],
            "feat_static_real": [float(number)],
        })  # fmt: skip
    return made


def irregular_entries(df: pd.DataFrame, variables: list[str], cut: int = 0) -> list[dict]:
    """Entries of a frame of irregular series; the last ``cut`` observations become query times."""
    made = []
    for item, part in df.groupby("item_id"):
        time, target = part["timestamp"].to_numpy(), part[variables].to_numpy(dtype=float).T
        target = target if len(variables) > 1 else target[0]
        made.append({"item_id": item, "time": time, "target": target})
        if cut:
            made[-1] = {
                "item_id": item, "time": time[:-cut], "target": target[..., :-cut], "query_time": time[-cut:]
            }  # fmt: skip
    return made


def quantiles(predictor: object, asked: list[dict]) -> dict[str, np.ndarray]:
    """Means and quantiles from GluonTS forecasts, samples, and ``predict_quantiles``."""
    found = list(predictor.predict(asked))
    arrays = {
        "mean": np.stack([one.mean for one in found]),
        "quantiles": np.stack([[one.quantile(level) for level in LEVELS] for one in found]),
    }
    if hasattr(found[0], "samples"):
        arrays["samples"] = np.stack([one.samples for one in found])
    if hasattr(predictor, "predict_quantiles"):
        arrays |= dict(zip(("all_means", "all_quantiles"), predictor.predict_quantiles(asked, LEVELS), strict=True))
    return arrays


def numbers(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Numeric columns, without the seconds of fitting and predicting."""
    columns = table.select_dtypes("number").drop(columns=["predict_seconds", "fit_seconds"], errors="ignore")
    return {str(name): values.to_numpy() for name, values in columns.items()}


def trained(estimator: object, data: str = "departures", **kwargs: object) -> dict[str, np.ndarray]:
    return quantiles(estimator.train(entries(data), **kwargs), entries(data))


def direct(data: str = "departures", **kwargs: object) -> dict[str, np.ndarray]:
    return trained(S5Estimator(**REGULAR | kwargs), data)


def direct_features() -> dict[str, np.ndarray]:
    estimator = S5Estimator(
        **REGULAR, num_feat_dynamic_real=2, num_past_feat_dynamic_real=1, num_feat_static_real=1,
        num_feat_static_cat=1, cardinality=[2],
    )  # fmt: skip
    return quantiles(estimator.train(with_features(ahead=False)), with_features(ahead=True))


def direct_validation() -> dict[str, np.ndarray]:
    estimator = S5Estimator(**REGULAR | {"max_epochs": 2})
    predictor = estimator.train(entries(steps=H), entries())
    again = estimator.train_from(predictor, entries())
    return quantiles(predictor, entries()) | _named(quantiles(again, entries()), "train_from")


def direct_rescaled() -> dict[str, np.ndarray]:
    predictor = S5Estimator(**REGULAR | {"patch_length": 1, "context_length": 96}).train(entries())
    finer = [{**one, "start": one["start"].asfreq("15min"), "target": one["target"]} for one in entries()]
    return quantiles(predictor.rescaled(0.25), finer)


def autoregressive(recursion: str | None, data: str = "departures", **kwargs: object) -> dict[str, np.ndarray]:
    context = {} if recursion == "decoder" else {"context_length": 72}
    return trained(S5AutoregressiveEstimator(**REGULAR, **DRAWN, recursion=recursion, **context, **kwargs), data)


def multivariate(**kwargs: object) -> dict[str, np.ndarray]:
    one = entries()
    joint = [{"item_id": "all", "start": one[0]["start"], "target": np.stack([each["target"] for each in one])}]
    estimator = S5MultivariateEstimator(target_dim=4, context_length=72, **REGULAR, **DRAWN, **kwargs)
    return quantiles(estimator.train(joint), joint)


def continuous(df: pd.DataFrame, variables: list[str], **kwargs: object) -> dict[str, np.ndarray]:
    estimator = S5ContinuousEstimator(
        **{"prediction_horizon": "12h", "target_dim": len(variables), "context_length": 48, **SHORT, **QUIET, **kwargs}
    )
    return quantiles(estimator.train(irregular_entries(df, variables)), irregular_entries(df, variables, cut=5))


def continuous_numbers() -> dict[str, np.ndarray]:
    df = delays()
    hours = (df["timestamp"] - df["timestamp"].min()) / pd.Timedelta("1h")
    return continuous(df.assign(timestamp=hours), ["dep_delay"], prediction_horizon=12.0)


def combined() -> dict[str, np.ndarray]:
    members = [S5Estimator(**REGULAR), BASELINES["seasonal_naive"](H)]
    predictor = CombinedEstimator(H, members, windows=2).train(entries())
    return quantiles(predictor, entries()) | {"weights": np.array(predictor.weights)}


def peer() -> dict[str, np.ndarray]:
    few = {"trainer_kwargs": {"max_epochs": 1}, "num_batches_per_epoch": 3, "batch_size": 8}
    return trained(PEERS["simple_feedforward"](freq="h", prediction_length=H, arguments=few))


def fitted(history: pd.DataFrame, own: dict | None = None, **kwargs: object) -> S5Forecaster:
    own = {**SHORT, **(own or {})}
    return S5Forecaster(
        **{"prediction_length": H, "freq": "h", "verbose": False, "estimator_kwargs": own, **kwargs}
    ).fit(history)


def forecaster(own: dict | None = None, samples: bool = False, **kwargs: object) -> dict[str, np.ndarray]:
    model = fitted(departures(), own, **kwargs)
    found = numbers(model.predict()) | _named(numbers(model.predict(quantile_levels=[0.25, 0.75])), "levels")
    if samples:
        found |= _named(numbers(model.predict_samples(num_samples=5)), "samples")
    return found


def pretrained(preset: str, **own: object) -> dict[str, np.ndarray]:
    model = S5Forecaster(H, "h", preset=preset, estimator_kwargs=own, verbose=False).fit(departures())
    stream = _named(numbers(model.stream().predict()), "stream")
    return numbers(model.predict()) | _named(numbers(model.predict(quantile_levels=[0.25, 0.75])), "levels") | stream


def forecaster_features() -> dict[str, np.ndarray]:
    df = departures()
    df = df.assign(hour=np.sin(df["timestamp"].dt.hour / 4), weekend=1.0 * (df["timestamp"].dt.dayofweek > 4))
    train, future = df[df.groupby("item_id").cumcount(ascending=False) >= H], df.groupby("item_id").tail(H)
    model = fitted(train, known=["hour", "weekend"], static=["origin", "carrier"])
    tables = model.backtest(df, windows=2), model.backtest(df, windows=2, refit=True)
    found = numbers(model.predict(future=future.drop(columns="target")))
    for name, table in zip(("backtest", "refit"), tables, strict=True):
        found |= _named(numbers(table.forecasts), name) | _named(numbers(table.metrics), f"{name}/metric")
    return found | _named(numbers(tables[0].by("item_id")), "backtest/by_item")


def forecaster_calibrated() -> dict[str, np.ndarray]:
    df = departures()
    train = df[df.groupby("item_id").cumcount(ascending=False) >= 12 * H]
    model = fitted(train)
    past, found = model.backtest(df, windows=12), {}
    for method in ("adaptive", "adaptive_cqr", "cqr", "cqr_symmetric", "split"):
        found |= _named(numbers(ConformalCalibrator(method).fit(past.forecasts).transform(past.forecasts)), method)
    model.calibrate(df, windows=12)
    found |= _named(numbers(model.predict(df)), "predict")
    return found | _named(numbers(model.backtest(df, windows=2).forecasts), "backtest")


def forecaster_rescaled() -> dict[str, np.ndarray]:
    model = fitted(departures(), {"patch_length": 1, "context_length": 96})
    df = departures()
    fine = df.assign(timestamp=df["timestamp"].min() + (df["timestamp"] - df["timestamp"].min()) / 4)
    return numbers(model.predict(fine, step_scale=0.25))


def forecaster_gaps() -> dict[str, np.ndarray]:
    model = fitted(weather().dropna(), {"missing": "skip", "context_length": 96})
    return numbers(model.predict())


def forecaster_irregular(df: pd.DataFrame, targets: list[str], **kwargs: object) -> dict[str, np.ndarray]:
    number = df.groupby("item_id").cumcount(ascending=False)
    history, ahead = df[number >= 5], df[number < 5]
    model = fitted(
        history, {"context_length": 48}, prediction_length=None, freq=None, horizon="12h", target=targets, **kwargs
    )
    found = numbers(model.predict(times=ahead[["item_id", "timestamp"]])) | _named(
        numbers(model.predict(every="4h")), "grid"
    )
    cut = model.backtest(df, count=5)
    found |= _named(numbers(cut.forecasts), "backtest") | _named(numbers(cut.metrics), "backtest/metric")
    stream = model.stream(history)
    found |= _named(numbers(stream.predict(horizon="12h", every="6h")), "stream")
    stream.update(ahead[ahead.groupby("item_id").cumcount() < 3])
    found |= _named(numbers(stream.predict(horizon="12h", every="6h")), "stream/updated")
    new = ahead.assign(item_id=ahead["item_id"] + "_new")
    return found | _named(numbers(stream.update(new).predict(horizon="12h", every="6h")), "stream/new")


def frame_stream(**kwargs: object) -> dict[str, np.ndarray]:
    df = departures()
    number = df.groupby("item_id").cumcount(ascending=False)
    model = fitted(df[number >= H], **kwargs)
    stream = model.stream()
    before = numbers(stream.predict())
    stream.update(df[number < H])
    return before | _named(numbers(stream.predict()), "updated")


def stream(estimator: object) -> dict[str, np.ndarray]:
    predictor = estimator.train(entries())
    states = predictor.stream(entries(steps=H))
    new = [
        {**a, "start": a["start"] + len(b["target"]), "target": a["target"][-H:]}
        for a, b in zip(entries(), entries(steps=H), strict=True)
    ]
    asked = [{"item_id": one["item_id"]} for one in new]
    before = dict(zip(("mean", "quantiles"), states.predict_quantiles(asked, LEVELS), strict=True))
    states.update(new)
    return before | dict(zip(("mean_after", "quantiles_after"), states.predict_quantiles(asked, LEVELS), strict=True))


def baselines() -> dict[str, np.ndarray]:
    found = {}
    for name in ("naive", "seasonal_naive", "drift", "constant"):
        result = backtest(BASELINES[name](H), entries(), H, windows=3, metrics=METRIC_NAMES, quantile_levels=WIDE)
        found |= _named(numbers(result.forecasts), name) | _named(numbers(result.metrics), f"{name}/metric")
    frame = backtest("seasonal_naive", departures(), H, windows=2, freq="h")
    return found | _named(numbers(frame.forecasts), "frame")


def comparison() -> dict[str, np.ndarray]:
    models = {"s5": S5Estimator(**REGULAR), "seasonal": "seasonal_naive", "naive": "naive"}
    result = compare(models, entries(), H, windows=4, baseline="naive", metrics=("WQL", "MAE", "MASE", "coverage_80"))
    past = result.backtests["s5"].forecasts
    found = numbers(result.leaderboard().sort_index()) | _named(
        numbers(result.pairwise("MAE", resamples=200)), "pairwise"
    )
    found |= _named(numbers(result.by_item("MAE")), "by_item") | _named(numbers(past), "s5")
    for name, table in (("coverage", interval_coverage), ("pit", pit_histogram), ("reliability", reliability)):
        found |= _named(numbers(table(past)), name)
    return found


def paths() -> dict[str, np.ndarray]:
    """Scores of sample paths."""
    df = departures()
    model = fitted(df[df.groupby("item_id").cumcount(ascending=False) >= 2 * H], DRAWS["own"], model="multivariate")
    result = backtest(model.predictor_, model.to_gluonts(df), H, windows=2, samples=True, metrics=PATH_METRICS)
    return numbers(result.metrics) | _named(numbers(result.forecasts), "forecasts")


def calibrated() -> dict[str, np.ndarray]:
    predictor = S5Estimator(**REGULAR).train(entries(steps=12 * H))
    return quantiles_of(calibrate(predictor, entries(), H, windows=12), entries())


def quantiles_of(predictor: object, asked: list[dict]) -> dict[str, np.ndarray]:
    found = list(predictor.predict(asked))
    return {"quantiles": np.stack([[one.quantile(level) for level in LEVELS] for one in found])}


def irregular_baselines() -> dict[str, np.ndarray]:
    found = {}
    data = irregular_entries(storms(), ["wind", "pressure"])
    for name in IRREGULAR_BASELINES:
        result = backtest(name, data, horizon="24h", count=4)
        found |= _named(numbers(result.forecasts), name) | _named(numbers(result.metrics), f"{name}/metric")
    return found


def choices() -> dict[str, np.ndarray]:
    """The output chosen for each data set, as its position in ``DISTRIBUTIONS``."""
    sets = ("departures", "weather", "growing", "positive", "shares")
    names = [choose_output([one["target"] for one in entries(name)]).name for name in sets]
    return {"outputs": np.array([list(DISTRIBUTIONS).index(name) for name in names])}


def regularized() -> dict[str, np.ndarray]:
    return numbers(regularize(delays(), "h", target="dep_delay").frame)


def _named(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": values for name, values in arrays.items()}


DRAWS = {"model": "autoregressive", "own": DRAWN | {"context_length": 72}}
PARTS = {
    "choices": choices,
    "regularize": regularized,
    "direct/defaults": direct,
    "direct/defaults_weather": lambda: direct("weather"),
    "direct/defaults_growing": lambda: direct("growing"),
    "direct/auto": lambda: direct(distr_output="auto"),
    "direct/auto_weather": lambda: direct("weather", distr_output="auto"),
    "direct/skip": lambda: direct("weather", missing="skip", context_length=96),
    "direct/no_synthetic": lambda: direct(synthetic_share=0.0),
    "direct/synthetic": lambda: direct(synthetic_share=0.5),
    "direct/one_lag": lambda: direct(lags_seq=[1]),
    "direct/crps": lambda: direct(distr_output="student_t", loss="crps"),
    "direct/quantile_loss": lambda: direct("weather", distr_output="normal", loss="quantile"),
    **{
        f"direct/scaling_{name}": lambda name=name: direct(scaling=name)
        for name in ("increments", "last", "mean", "none")
    },
    **{
        f"direct/{name}": lambda name=name, data=data: direct(data, distr_output=name) for name, data in OUTPUTS.items()
    },
    "direct/causal": lambda: direct(**CAUSAL),
    "direct/features": direct_features,
    "direct/validation": direct_validation,
    "direct/rescaled": direct_rescaled,
    "autoregressive/encoder": lambda: autoregressive("encoder"),
    "autoregressive/encoder_weather": lambda: autoregressive("encoder", "weather"),
    "autoregressive/decoder": lambda: autoregressive("decoder"),
    "autoregressive/decoder_negative_binomial": lambda: autoregressive("decoder", distr_output="negative_binomial"),
    "autoregressive/defaults": lambda: autoregressive(None),
    "continuous/delays": lambda: continuous(delays(), ["dep_delay"], cycles=["hour", "day"]),
    "continuous/storms": lambda: continuous(storms(), ["wind", "pressure"], distr_output="student_t"),
    "continuous/storms_auto": lambda: continuous(storms(), ["wind", "pressure"], distr_output="auto", scaling="global"),
    "continuous/numbers": continuous_numbers,
    "multivariate/normal": lambda: multivariate(distr_output="multivariate_normal"),
    "multivariate/gaussian_copula": lambda: multivariate(distr_output="gaussian_copula"),
    "multivariate/energy": lambda: multivariate(loss="energy"),
    "ensemble": lambda: trained(EnsembleEstimator(S5Estimator(**REGULAR), num_members=2)),
    "combined": combined,
    "peer": peer,
    "forecaster/defaults": forecaster,
    "forecaster/features": forecaster_features,
    "forecaster/autoregressive": lambda: forecaster(samples=True, **DRAWS),
    "forecaster/multivariate": lambda: forecaster(samples=True, model="multivariate", own=DRAWS["own"]),
    "forecaster/ensemble": lambda: forecaster(own={"num_members": 2}),
    "forecaster/best": lambda: forecaster(preset="best"),
    "forecaster/fast": lambda: forecaster(preset="fast"),
    "forecaster/zero_shot": lambda: pretrained("zero_shot"),
    "forecaster/fine_tuned": lambda: pretrained("fine_tuned", num_steps=3),
    "forecaster/pooled": lambda: forecaster(
        samples=True, model="autoregressive", own=DRAWS["own"] | {"num_members": 2}
    ),
    "forecaster/calibrated": forecaster_calibrated,
    "forecaster/rescaled": forecaster_rescaled,
    "forecaster/gaps": forecaster_gaps,
    "forecaster/delays": lambda: forecaster_irregular(delays(), ["dep_delay"]),
    "forecaster/storms": lambda: forecaster_irregular(storms(), ["wind", "pressure"]),
    "stream/frame": lambda: frame_stream(own=CAUSAL),
    "stream/frame_autoregressive": lambda: frame_stream(
        model="autoregressive", own=DRAWN | {"context_length": 72, "recursion": "encoder"}
    ),
    "stream/direct": lambda: stream(S5Estimator(**REGULAR, **CAUSAL)),
    "stream/autoregressive": lambda: stream(
        S5AutoregressiveEstimator(**REGULAR, **DRAWN, context_length=72, recursion="encoder")
    ),
    "evaluation/baselines": baselines,
    "evaluation/irregular_baselines": irregular_baselines,
    "evaluation/paths": paths,
    "evaluation/compare": comparison,
    "evaluation/calibrate": calibrated,
}


def make(only: list[str] | None, shown: bool) -> dict[str, np.ndarray]:
    """All arrays by name."""
    torch.set_num_threads(1)
    found = {}
    for name, part in PARTS.items():
        if only and not name.startswith(tuple(only)):
            continue
        began = perf_counter()
        found |= _named(part(), name)
        if shown:
            print(f"{perf_counter() - began:6.1f} s  {name}", flush=True)
    return found


def difference(found: np.ndarray, before: np.ndarray) -> str:
    """``"equal"``, or the largest difference of two arrays."""
    if (found.shape, found.dtype) != (before.shape, before.dtype):
        return f"{before.dtype}{list(before.shape)} became {found.dtype}{list(found.shape)}"
    if found.tobytes() == before.tobytes() or np.array_equal(found, before, equal_nan=found.dtype.kind == "f"):
        return "equal"
    one, other = found.astype(float), before.astype(float)
    if (np.isnan(one) != np.isnan(other)).any():
        return "missing values differ"
    apart = np.abs(one - other) / np.maximum(np.maximum(np.abs(one), np.abs(other)), np.finfo(float).tiny)
    return f"largest relative difference {np.nanmax(apart):.2g}"


def check(found: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> int:
    """Print a line for each name; return how many differ."""
    lines = {name: "is new" for name in found if name not in before}
    lines |= {name: difference(found[name], was) if name in found else "is gone" for name, was in before.items()}
    for name, line in lines.items():
        print(f"{name}: {line}")
    return sum(line != "equal" for line in lines.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file")
    parser.add_argument("--only", nargs="+", help="beginnings of names of parts")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found = make(arguments.only, arguments.what == "record")
    if arguments.what == "record":
        np.savez_compressed(arguments.file, **found)
        print(f"{len(found)} arrays in {arguments.file}")
        return
    with np.load(arguments.file) as stored:
        chosen = [name for name in stored.files if not arguments.only or name.startswith(tuple(arguments.only))]
        differing = check(found, {name: stored[name] for name in chosen})
    print(f"{differing} of {len(found)} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
