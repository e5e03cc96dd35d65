"""Refitting, resuming and parallel runs of backtests, and tests for leaks of future values."""

import numpy as np
import pandas as pd
import pytest
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor
from sklearn.base import BaseEstimator

from s5forecast.evaluation import Backtest, backtest
from s5forecast.evaluation.baselines import NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.splitters import RegularSplitter
from s5forecast.evaluation.windows import RegularWindow


def entries(*lengths, seed=0, **fields):
    rng = np.random.default_rng(seed)
    start = pd.Period("2024-01-01", "h")
    return [{"start": start, "target": rng.normal(size=length).cumsum(), **fields} for length in lengths]


def frame(*lengths, seed=0):
    parts = [
        pd.DataFrame(
            {
                "item_id": f"s{number}",
                "timestamp": pd.date_range("2024-01-01", periods=len(entry["target"]), freq="h"),
                "target": entry["target"],
            }
        )
        for number, entry in enumerate(entries(*lengths, seed=seed))
    ]
    return pd.concat(parts, ignore_index=True)


class Greedy(RepresentablePredictor):
    """Forecasts the mean of all numbers in an entry."""

    def predict_item(self, item):
        arrays = [
            np.ravel(value) for value in item.values() if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        ]
        samples = np.full((2, self.prediction_length), np.nanmean(np.concatenate(arrays)))
        return SampleForecast(samples, item["start"] + len(item["target"]), item.get("item_id"))


class Counting(Estimator):
    """Learns the mean of the training data, records the lengths of its inputs, and may fail at a later training."""

    def __init__(self, prediction_length, fails_after=99):
        super().__init__()
        self.prediction_length, self.fails_after, self.trained = prediction_length, fails_after, []

    def train(self, training_data, validation_data=None):
        data = list(training_data)
        if len(self.trained) == self.fails_after:
            raise RuntimeError("out of power")
        self.trained.append([len(entry["target"]) for entry in data])
        for entry in data:
            assert entry.get("feat_dynamic_real", entry["target"]).shape[-1] == len(entry["target"])
        return Level(self.prediction_length, np.concatenate([entry["target"] for entry in data]).mean())


class Level(RepresentablePredictor):
    def __init__(self, prediction_length, level):
        super().__init__(prediction_length)
        self.level = level

    def predict_item(self, item):
        samples = np.full((1, self.prediction_length), self.level)
        return SampleForecast(samples, item["start"] + len(item["target"]), item.get("item_id"))


class Forecaster(BaseEstimator):
    """A forecaster of frames: the mean of the training data plus the last value."""

    def __init__(self, prediction_length, known=()):
        self.prediction_length, self.known, self.static = prediction_length, known, ()
        self.target, self.item_id, self.timestamp = "target", "item_id", "timestamp"

    def fit(self, df):
        self.level_, self.trained_until_ = df["target"].mean(), df["timestamp"].max()
        return self

    def predict(self, df, future=None, quantile_levels=()):
        rows = []
        for item, part in df.groupby("item_id", sort=False):
            assert list(part.columns[:2]) == ["item_id", "timestamp"]
            stamps = pd.date_range(part["timestamp"].iloc[-1], periods=self.prediction_length + 1, freq="h")[1:]
            value = self.level_ + part["target"].iloc[-1]
            if self.known:
                ahead = future[future["item_id"] == item]
                assert list(ahead["timestamp"]) == list(stamps) and "target" not in future
                value = value + ahead[self.known[0]].to_numpy()
            values = {"mean": value, **{str(level): value for level in quantile_levels}}
            rows.append(pd.DataFrame({"item_id": item, "timestamp": stamps, **values}))
        return pd.concat(rows, ignore_index=True)


def changed_after_the_first_cut(data, held_out):
    """The entries with altered values from the first window on, in every field along time."""
    altered = []
    for entry in data:
        cut = len(entry["target"]) - held_out
        fields = {name: np.array(v) for name, v in entry.items() if isinstance(v, np.ndarray)}
        for value in fields.values():
            value[..., cut:] += 1e3
        altered.append({**entry, **fields})
    return altered


def leaks(model, data, **arguments):
    """Whether the forecasts of the first origin depend on later values."""
    held_out = 4 * 3
    given = {"prediction_length": 4, "windows": 3, "metrics": (), **arguments}
    found = []
    for version in (data, changed_after_the_first_cut(data, held_out)):
        table = backtest(model, version, **given).forecasts
        found.append(table[table["cutoff"] == table.groupby("item_id")["cutoff"].transform("min")]["mean"])
    return not np.array_equal(*found)


@pytest.mark.parametrize(
    ("model", "arguments"),
    [(Greedy(4), {}), (Greedy(4), {"n_jobs": 2}), (Counting(4), {}), (Counting(4), {"refit": 2}), ("drift", {})],
)
def test_forecasts_do_not_depend_on_the_future(model, arguments):
    data = entries(30, 40)
    for entry in data:
        entry |= {"past_feat_dynamic_real": np.stack([entry["target"]]), "an_own_field": entry["target"] * 2}
    assert not leaks(model, data, **arguments)


@pytest.mark.parametrize("part", ["input", "past"])
def test_planted_leak_is_detected(part, monkeypatch):
    honest = getattr(RegularWindow, part).fget

    def one_step_too_many(window):
        return {**honest(window), "leak": np.asarray(window.entry["target"])[: window.cut + 1]}

    model = Greedy(4) if part == "input" else Counting(4)
    if part == "past":

        def one_step_too_many(window):
            return {**honest(window), "target": np.asarray(window.entry["target"])[: window.cut + 1]}

    monkeypatch.setattr(RegularWindow, part, property(one_step_too_many))
    assert leaks(model, entries(30, 40))


@pytest.mark.parametrize(
    ("refit", "trained"),
    [
        (False, [[22, 12]]),
        (True, [[22, 12], [24, 14], [26, 16], [28, 18], [30, 20]]),
        (2, [[22, 12], [26, 16], [30, 20]]),
    ],
)
def test_refit(refit, trained):
    model = Counting(3)
    data = entries(33, 23, feat_dynamic_real=np.ones((1, 60)))
    result = backtest(model, data, 3, windows=5, step=2, refit=refit)
    assert model.trained == trained
    first, last = (
        np.concatenate([e["target"][: n[i]] for i, e in enumerate(data)]).mean() for n in (trained[0], trained[-1])
    )
    means = result.by("cutoff")
    assert len(means) == 10 and result.fit_seconds > 0
    np.testing.assert_allclose(result.forecasts["mean"].iloc[[0, -1]], [first, last])


def test_interrupted_backtest_continues(tmp_path):
    data = entries(33, 23)
    with pytest.raises(RuntimeError, match="out of power"):
        backtest(Counting(3, fails_after=2), data, 3, windows=5, refit=2, directory=tmp_path / "run")
    again = Counting(3)
    resumed = backtest(again, data, 3, windows=5, refit=2, directory=tmp_path / "run")
    assert len(again.trained) == 1
    straight = backtest(Counting(3), data, 3, windows=5, refit=2)
    pd.testing.assert_frame_equal(resumed.forecasts, straight.forecasts)
    never = Counting(3, fails_after=0)
    pd.testing.assert_frame_equal(
        backtest(never, data, 3, windows=5, refit=2, directory=tmp_path / "run").forecasts, straight.forecasts
    )
    with pytest.raises(ValueError, match="another windows; use an empty folder"):
        backtest(again, data, 3, windows=4, refit=2, directory=tmp_path / "run")
    data[0]["target"] = data[0]["target"] + 1
    with pytest.raises(ValueError, match="another data"):
        backtest(again, data, 3, windows=5, refit=2, directory=tmp_path / "run")


def test_folder_holds_one_model_and_one_data_set(tmp_path):
    data = frame(40, 30)
    ahead = backtest("naive", data, 3, windows=2).forecasts.drop(columns="target")
    several = [SeasonalNaivePredictor(3, 4), SeasonalNaivePredictor(3, 5), Level(3, 1.0), Level(3, 2.0)]
    several += [ahead, ahead.assign(mean=0.0), Forecaster(3), Forecaster(3, known=("target",))]
    for number, model in enumerate(several):
        folder = tmp_path / str(number - number % 2)
        if number % 2:
            with pytest.raises(ValueError, match="another settings"):
                backtest(model, data, 3, windows=2, directory=folder)
            continue
        first, again = (backtest(model, data, 3, windows=2, directory=folder) for _ in range(2))
        pd.testing.assert_frame_equal(first.forecasts, again.forecasts)
    static = entries(40, feat_static_real=np.array([1.0]))
    backtest("naive", static, 3, directory=tmp_path / "static")
    static[0]["feat_static_real"] = np.array([2.0])
    with pytest.raises(ValueError, match="another data"):
        backtest("naive", static, 3, directory=tmp_path / "static")


def test_damaged_files_are_named(tmp_path):
    data = entries(40)
    backtest("naive", data, 3, windows=2, directory=tmp_path)
    origin, about = tmp_path / "origin_0001.npz", tmp_path / "backtest.json"
    for damaged in (origin, about):
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[:100])
        with pytest.raises(ValueError, match=f"{damaged.name} is damaged .*; delete it"):
            backtest("naive", data, 3, windows=2, directory=tmp_path)
        damaged.write_bytes(whole)
    about.unlink()
    with pytest.raises(ValueError, match=r"origins without backtest\.json; use an empty folder"):
        backtest("naive", data, 3, windows=2, directory=tmp_path)


def test_missing_forecasts_are_not_kept(tmp_path):
    with pytest.raises(ValueError, match=r"by 'x' of series '0' at .*, made at .*, is NaN"):
        backtest(Level(3, np.nan), entries(40), 3, windows=2, directory=tmp_path, name="x")
    assert [path.name for path in tmp_path.iterdir()] == ["backtest.json"]


def test_fields_are_cut_along_the_axis_of_the_target():
    data = entries(20, wide=np.arange(40.0).reshape(20, 2), tall=np.arange(40.0).reshape(2, 20), other=np.ones(7))
    window = RegularSplitter(4).split(data)[0][0]
    for given in (window.input, window.past):
        np.testing.assert_array_equal(given["wide"], data[0]["wide"][:16])
        np.testing.assert_array_equal(given["tall"], data[0]["tall"][:, :16])
        assert given["other"].shape == (7,)


def test_forecasts_in_another_order_are_refused():
    class Backwards(Level):
        def predict(self, dataset, **kwargs):
            return super().predict(list(dataset)[::-1], **kwargs)

    with pytest.raises(ValueError, match="'Backwards' returned a forecast of series '1' in place of series '0'"):
        backtest(Backwards(3, 0.0), entries(20, 20), 3)


def test_nothing_is_written_without_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backtest(Counting(3), entries(33), 3, windows=2, refit=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [{}, {"refit": True}, {"samples": True}])
@pytest.mark.parametrize("model", [NaivePredictor(3), Counting(3), Greedy(3)])
def test_parallel_equals_sequential(model, arguments, tmp_path):
    if arguments.get("samples") and isinstance(model, NaivePredictor):
        pytest.skip("draws no samples")
    data = entries(33, 23, 40)
    expected = backtest(model, data, 3, windows=3, **arguments)
    for extra in ({}, {"directory": tmp_path}):
        found = backtest(model, data, 3, windows=3, n_jobs=2, **arguments, **extra)
        pd.testing.assert_frame_equal(found.forecasts, expected.forecasts)
        pd.testing.assert_series_equal(found.seasonal_error, expected.seasonal_error)


def test_one_progress_bar(capsys):
    backtest(Counting(3), entries(33, 23), 3, windows=4, refit=True, progress=True, name="counting")
    lines = capsys.readouterr().err.strip().split("\r")
    assert lines[-1].startswith("counting: 100%") and "8/8" in lines[-1] and "\n" not in lines[-1]


def test_samples_are_kept_and_scored():
    class Paths(RepresentablePredictor):
        def predict_item(self, item):
            steps = np.random.default_rng(len(item["target"])).normal(size=(50, self.prediction_length))
            return SampleForecast(item["target"][-1] + steps.cumsum(axis=1), item["start"] + len(item["target"]))

    names = ("CRPS", "PIT", "energy_score", "variogram_score", "energy_score_series")
    result = backtest(Paths(5), entries(60, 60, 60), 5, windows=4, metrics=names, samples=True)
    assert result.samples.shape == (3 * 4 * 5, 50)
    assert np.isfinite(result.metrics.to_numpy()).all()
    assert 0.5 < result.metrics["energy_score"].item() < 10
    assert list(result.by("step")) == ["CRPS", "PIT_mean", "PIT_variance", "energy_score_series"]
    windows = result.by("window")
    assert list(windows) == ["CRPS", "PIT_mean", "PIT_variance", "energy_score", "variogram_score"]
    assert windows["energy_score"].mean() == pytest.approx(result.metrics["energy_score"].item())
    assert result.by("item_id")["energy_score"].mean() == pytest.approx(windows["energy_score"].mean())
    again = Backtest.from_frame(result.forecasts, metrics=names)
    np.testing.assert_allclose(again.metrics, result.metrics.iloc[:, :-1])
    with pytest.raises(ValueError, match="GaussianForecast without samples"):
        backtest("naive", entries(20), 2, samples=True)


def test_a_forecaster_of_frames():
    data = frame(30, 20)
    fitted = Forecaster(3).fit(data)
    for model in (Forecaster(3), fitted):
        result = backtest(model, data, 3, windows=2)
        before = pd.concat([data.iloc[:24], data.iloc[30:44]])["target"].mean()
        last = data.set_index(["item_id", "timestamp"])["target"]
        expected = before + last.loc[list(zip(result.forecasts["item_id"], result.forecasts["cutoff"], strict=True))]
        np.testing.assert_allclose(result.forecasts["mean"], expected)
        assert result.fit_seconds is not None
    assert fitted.level_ == data["target"].mean()
    known = backtest(Forecaster(3, known=("price",)), data.assign(price=7.0), 3, windows=2)
    np.testing.assert_allclose(known.forecasts["mean"] - result.forecasts["mean"], 7)
    with pytest.raises(ValueError, match="on a DataFrame"):
        backtest(Forecaster(3), entries(20), 3)
    with pytest.raises(ValueError, match="forecasts 3 steps, not 2"):
        backtest(Forecaster(3), data, 2)


def test_forecaster_fitted_before_the_windows_is_used_unchanged():
    data = frame(30, 30)
    early = Forecaster(3).fit(data[data["timestamp"] < "2024-01-01 12:00"])
    result = backtest(early, data, 3)
    last = data.groupby("item_id")["target"].nth(-4).to_numpy()
    np.testing.assert_allclose(result.forecasts["mean"], (early.level_ + last).repeat(3))
    twice = backtest(early, data, 3, windows=2, refit=True).forecasts
    cutoffs = twice["cutoff"].drop_duplicates()
    levels = [data[data["timestamp"] <= cutoff]["target"].mean() for cutoff in cutoffs]
    known = data.set_index(["item_id", "timestamp"])["target"]
    last = known.loc[list(zip(twice["item_id"], twice["cutoff"], strict=True))].to_numpy()
    np.testing.assert_allclose(twice["mean"], twice["cutoff"].map(dict(zip(cutoffs, levels, strict=True))) + last)


def test_forecasts_from_other_sources():
    data = frame(30, 20)
    made = backtest("seasonal_naive", data, 3, windows=3, step=2)
    elsewhere = made.forecasts.drop(columns="target").sample(frac=1, random_state=0)
    found = backtest(elsewhere, data, 3, windows=3, step=2, name="seasonal_naive")
    pd.testing.assert_frame_equal(found.forecasts, made.forecasts)
    np.testing.assert_allclose(found.metrics["MASE"], made.metrics["MASE"])
    with pytest.raises(ValueError, match=r"two rows for .*'cutoff'"):
        backtest(elsewhere.drop(columns="cutoff"), data, 3, windows=3, step=2)
    with pytest.raises(ValueError, match=r"no row for .*'s1'"):
        backtest(elsewhere.query("item_id == 's0'"), data, 3, windows=3, step=2)
    one = backtest(
        elsewhere.drop(columns="cutoff").drop_duplicates(["item_id", "timestamp"]), data, 3, windows=2, step=3
    )
    assert len(one.forecasts) == 12


def test_a_frame_and_its_entries_give_the_same():
    data = frame(60, 50)
    of_frame = backtest(SeasonalNaivePredictor(4), data, 4, windows=2)
    of_entries = backtest(
        SeasonalNaivePredictor(4), [{**e, "item_id": f"s{n}"} for n, e in enumerate(entries(60, 50))], 4, windows=2
    )
    pd.testing.assert_frame_equal(of_frame.forecasts, of_entries.forecasts)


def test_errors():
    with pytest.raises(ValueError, match="two series have the item_id 'a'"):
        backtest("naive", entries(20, 20, item_id="a"), 2)
    with pytest.raises(ValueError, match="unknown baseline 'navie'"):
        backtest("navie", entries(20), 2)
    with pytest.raises(ValueError, match="refit=-1"):
        backtest("naive", entries(20), 2, refit=-1)
    with pytest.raises(ValueError, match="is not a predictor, an estimator"):
        backtest(3, entries(20), 2)
