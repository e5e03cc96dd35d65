"""The workers of a Ray dataset give the forecasts and backtests of one machine."""

import os
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frame_cases import CASES, REGULAR, asked, irregular, rows
from test_forecaster_partition import close
from test_many_machines import run, same

from s5forecast import RayData, S5Forecaster, backtest, ray_forecasts
from s5forecast.data.frames import Columns
from s5forecast.evaluation import compare

pytestmark = pytest.mark.slow
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[ray]'")
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Ray on this machine, with two CPUs, whose files are all in a temporary folder."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # Ray's sockets require a short path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", folder)
        patch.setenv("RAY_AUTH_MODE", "")  # Ray sets it, so that it is restored afterwards
        patch.delenv("RAY_AUTH_MODE")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(Path(__file__).parent)]))  # of the workers
        settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(num_cpus=2, object_store_memory=100 * 2**20, _temp_dir=folder, **settings)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def dataset(df, blocks=4):
    """A Ray dataset with the rows of every series in several blocks."""
    return ray.data.from_arrow(
        [
            pa.Table.from_pandas(df.iloc[part], preserve_index=False)
            for part in np.array_split(np.arange(len(df)), blocks)
        ]
    )


def ordered(frame, keys):
    """A frame sorted by series and time."""
    return frame.sort_values([*keys, "timestamp"], ignore_index=True)


def same_forecasts(found, expected, parameters, tolerance=1e-5):
    keys = [name for name in np.atleast_1d(parameters.get("item_id", "item_id")) if name in expected]
    close(ordered(found, keys).astype(expected.dtypes), ordered(expected, keys), tolerance)


@pytest.mark.parametrize("name", ["two columns", "one series", "covariates", "sample paths", "irregular"])
def test_forecasts(name):
    make, parameters = CASES[name]
    df = make()
    forecaster = S5Forecaster(**parameters).fit(df)
    expected = forecaster.predict_partition(df, **asked(name, df))
    found = forecaster.predict(RayData(dataset(df), workers=1, parts=3), **asked(name, df)).to_pandas()
    same_forecasts(found, expected, parameters)


def test_a_part_has_all_rows_of_its_series():
    df = rows().drop(columns="number")
    found = RayData(dataset(df), workers=1, parts=4).map_parts(Columns(), CountRows).to_pandas()
    assert not found["item_id"].duplicated().any()
    assert found.set_index("item_id")["rows"].to_dict() == df["item_id"].value_counts().to_dict()
    assert found["part"].nunique() > 1


class CountRows:
    """The number of rows of each series of a part."""

    def __call__(self, number, table):
        counts = table.column("item_id").value_counts()
        columns = {"item_id": counts.field("values"), "rows": counts.field("counts")}
        return pa.table({**columns, "part": pa.array([number] * len(counts))})


def test_a_worker_that_is_killed_loses_nothing(monkeypatch, tmp_path):
    df, forecaster = rows(), S5Forecaster.pretrained(3, freq="h")
    monkeypatch.setattr(ray_forecasts, "PartForecaster", partial(SlowForecaster, tmp_path))
    forecasts = forecaster.predict(RayData(dataset(df), workers=1, parts=8))
    found, killed = [], None
    for batch in forecasts.iter_batches(batch_format="pandas", batch_size=None, prefetch_batches=0):
        found.append(batch)
        if killed is None:
            killed = next(iter(pids(tmp_path)))
            os.kill(killed, signal.SIGKILL)
    assert len(pids(tmp_path)) > 1
    same_forecasts(pd.concat(found), forecaster.predict(df), {})


def pids(folder):
    return {int(path.name) for path in folder.iterdir()}


class SlowForecaster(ray_forecasts.PartForecaster):
    """Leaves a file with the number of its process."""

    def __init__(self, folder, *arguments):
        super().__init__(*arguments)
        self.folder = folder

    def __call__(self, number, table):
        (self.folder / str(os.getpid())).touch()
        time.sleep(1)
        return super().__call__(number, table)


class TestFolder:
    def test_forecasts(self, tmp_path):
        df, forecaster = rows(), S5Forecaster.pretrained(3, freq="h")
        folder = forecaster.predict(RayData(dataset(df), workers=1, parts=3), output=tmp_path / "forecasts")
        same_forecasts(pd.read_parquet(folder), forecaster.predict(df), {})
        with pytest.raises(ValueError, match="holds forecasts of another call: data differ"):
            forecaster.predict(dataset(df), output=folder)

    def test_series_that_are_left_out(self, tmp_path):
        df, forecaster = rows(), S5Forecaster.pretrained(3, freq="h", on_error="skip")
        df.loc[df["item_id"].isin(["a", "c"]), "target"] = np.nan
        with pytest.warns(UserWarning, match="2 series are left out"):
            folder = forecaster.predict(RayData(dataset(df), workers=1, parts=8), output=tmp_path / "forecasts")
        assert sorted(pd.read_parquet(folder)["item_id"].unique()) == ["b", "d", "e"]
        skipped = pd.read_parquet(folder / "_skipped.parquet")
        assert sorted(skipped["item_id"]) == ["a", "c"] == sorted(forecaster.skipped_["item_id"])


class TestBacktest:
    def same(self, found, expected):
        keys = ["item_id", "cutoff", "timestamp"]
        one, other = (result.forecasts.sort_values(keys, ignore_index=True) for result in (found, expected))
        close(one, other)
        close(found.metrics[["WQL", "MASE"]], expected.metrics[["WQL", "MASE"]])

    def test_trained_before_the_windows(self):
        df = rows()
        early = df[df["timestamp"] < "2024-01-02"]
        forecaster = S5Forecaster(**REGULAR).fit(early)
        data = RayData(dataset(df), workers=1, parts=3)
        arguments = {"windows": 2, "season": 6, "metrics": ["WQL", "MASE"]}
        self.same(forecaster.backtest(data, **arguments), forecaster.backtest(df, **arguments))

    def test_comparison(self):
        df = rows()
        df.loc[df["item_id"] == "c", "target"] = np.nan
        models = {"zero-shot": S5Forecaster.pretrained(3, freq="h", on_error="skip"), "naive": "naive"}
        arguments = {"prediction_length": 3, "windows": 2, "season": 6, "metrics": ["WQL", "MASE"]}
        with pytest.warns(UserWarning, match="1 series is left out: 'c'"):
            expected = compare(models, df, **arguments)
        with pytest.warns(UserWarning, match="1 series is left out: 'c'"):
            found = compare(models, RayData(dataset(df), workers=1, parts=8), **arguments)
        for name in models:
            self.same(found.backtests[name], expected.backtests[name])
            pd.testing.assert_frame_equal(found.backtests[name].skipped, expected.backtests[name].skipped)
        assert list(found.backtests) == list(models) and found.baseline == "naive"

    def test_a_baseline(self):
        df = rows()
        data = RayData(dataset(df), workers=1, parts=3)
        arguments = {"prediction_length": 3, "freq": "h", "metrics": ["WQL", "MASE"]}
        self.same(backtest("seasonal_naive", data, **arguments), backtest("seasonal_naive", df, **arguments))

    def test_models_that_would_be_trained(self):
        df = rows()
        with pytest.raises(ValueError, match="train nothing, and 'S5Forecaster' is not trained"):
            S5Forecaster(**REGULAR).backtest(dataset(df))
        with pytest.raises(Exception, match="the forecaster has seen the windows, and the workers"):
            S5Forecaster(**REGULAR).fit(df).backtest(RayData(dataset(df), workers=1, parts=1))

    def test_other_arguments(self):
        data, forecaster = dataset(rows()), S5Forecaster.pretrained(3, freq="h")
        with pytest.raises(ValueError, match="refit= requires data on one machine"):
            forecaster.backtest(data, refit=True)
        with pytest.raises(ValueError, match="the frequency cannot be inferred"):
            backtest("naive", data, 3)
        with pytest.raises(ValueError, match="the season of integer times cannot be found"):
            backtest("naive", data, 3, freq=1)
        with pytest.raises(ValueError, match="require regular series"):
            S5Forecaster(**CASES["irregular"][1]).fit(irregular()).backtest(data, fraction=0.5)


class TestErrors:
    def test_methods_of_one_machine(self):
        data, forecaster = dataset(rows()), S5Forecaster.pretrained(3, freq="h")
        with pytest.raises(
            ValueError, match=r"fit\(\) does not take a Ray dataset as df; write it with dataset\.write"
        ):
            forecaster.fit(data)
        with pytest.raises(ValueError, match=r"check\(\) does not take a Ray dataset as df; pass a frame"):
            forecaster.check(data)
        with pytest.raises(ValueError, match=r"predict\(\) does not take a Ray dataset as future"):
            forecaster.predict(rows(), data)

    def test_models_of_all_series(self):
        df = rows().query("timestamp < '2024-01-02'")
        with pytest.raises(ValueError, match="forecasts all series together"):
            S5Forecaster(**REGULAR, model="multivariate").fit(df).predict(dataset(df))

    def test_columns(self):
        with pytest.raises(ValueError, match="df has no column 'target'; did you mean 'targets'"):
            S5Forecaster.pretrained(3, freq="h").predict(dataset(rows().rename(columns={"target": "targets"})))

    def test_future_on_disk(self, tmp_path):
        df = rows(price=1.0)
        df.to_parquet(tmp_path / "future.parquet")
        with pytest.raises(ValueError, match="future= of a Ray dataset must be a frame"):
            S5Forecaster(**REGULAR, known=["price"]).fit(df).predict(dataset(df), tmp_path / "future.parquet")

    def test_an_error_of_a_worker_names_the_series(self):
        df = rows()
        df.loc[df["item_id"] == "c", "target"] = np.nan
        with pytest.raises(Exception, match="series 'c': column 'target' has no observed value"):
            S5Forecaster.pretrained(3, freq="h").predict(dataset(df)).take_all()

    @pytest.mark.parametrize("name", ["workers", "parts"])
    def test_counts(self, name):
        with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
            RayData(dataset(rows()), **{name: 0})


def test_the_code_of_the_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, expected = run("Ray")
    same(names["forecasts"].to_pandas(), expected)
    same(pd.read_parquet(names["folder"]), expected)
    assert set(names["comparison"].backtests) == {"zero-shot", "naive"}


def test_dataset_without_rows():
    forecaster = S5Forecaster(**CASES["pretrained"][1])
    for data in (dataset(rows()[:0]), RayData(dataset(rows()[:0]), parts=2)):
        with pytest.raises(ValueError, match="df has no rows"):
            forecaster.predict(data)
