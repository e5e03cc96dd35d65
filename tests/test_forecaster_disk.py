"""Data on disk give the forecasts of frames, to the last digit, in parts that an interrupted call resumes."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from frame_cases import CASES, REGULAR, SMALL, asked, equal, future_of, irregular, rows, stored, with_covariates

from s5forecast import DiskData, S5Forecaster, backtest
from s5forecast.data import disk_data, record_batches
from s5forecast.data.frequency import Frequency
from s5forecast.data.partitions import consecutive_parts
from s5forecast.evaluation import compare

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")
ds = pytest.importorskip("pyarrow.dataset")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Several parts of rows and of forecasts, although the data are small."""
    monkeypatch.setattr(disk_data, "PART_ROWS", 70)
    monkeypatch.setitem(record_batches.READING, "batch_size", 37)
    monkeypatch.setattr("s5forecast.forecast_parts.PART_SERIES", 2)


@pytest.mark.parametrize("name", CASES)
def test_forecasts_equal_those_of_the_frame(name, tmp_path):
    make, parameters = CASES[name]
    df = make()
    expected = S5Forecaster(**parameters).fit(df)
    found = S5Forecaster(**parameters).fit(stored(df, tmp_path / "rows"))
    kwargs = asked(name, df)
    forecast = expected.predict(**kwargs)
    equal(found.predict(**kwargs), forecast)
    equal(expected.predict(str(tmp_path / "rows" / "*.parquet"), **kwargs), expected.predict(df, **kwargs))
    folder = found.predict(**kwargs, output=tmp_path / "forecasts")
    written = pd.read_parquet(folder)
    keys = [column for column in forecast if column in (*np.atleast_1d(found.item_id), "timestamp")]
    order = [frame.astype({k: str for k in keys}).sort_values(keys).index for frame in (written, forecast)]
    np.testing.assert_array_equal(
        written.drop(columns=keys).loc[order[0]].to_numpy(), forecast.drop(columns=keys).loc[order[1]].to_numpy()
    )
    assert len(list(folder.glob("part-*.parquet"))) == -(-found.num_series_ // 2)


@pytest.mark.parametrize("kind", ["file", "folder", "pattern", "dataset", "DiskData"])
def test_sources(kind, tmp_path):
    df = rows()
    path = stored(df, tmp_path / "rows", files=1 if kind == "file" else 3)
    source = {
        "file": path / "0.parquet", "folder": str(path), "pattern": path / "*.parquet", "dataset": ds.dataset(path),
        "DiskData": DiskData(path, folder=tmp_path / "scratch"),
    }[kind]  # fmt: skip
    forecaster = S5Forecaster(**{**REGULAR, "preset": "zero_shot", "estimator_kwargs": None})
    expected, found = forecaster.predict(df), forecaster.predict(source)
    if kind == "dataset":
        assert isinstance(found, pa.Table) and found.schema.field("timestamp").type == pa.timestamp("ns")
        found = found.to_pandas()
    equal(found, expected)


def test_sorted_rows_are_read_without_partitions(tmp_path):
    df = rows().sort_values(["number", "timestamp"], ignore_index=True)
    data = DiskData(stored(df, tmp_path / "rows"))
    tables = list(data.frames(S5Forecaster(3)._columns))
    assert [len(table) for table in tables] == [30 + 35 + 40, 45, 50]
    pd.testing.assert_frame_equal(pd.concat(tables, ignore_index=True), df[["item_id", "timestamp", "target"]])
    assert next(iter(data._rows.values()))._folder is None


def test_future_on_disk(tmp_path):
    df = with_covariates()
    forecaster = S5Forecaster(**REGULAR, known=["price", "event"]).fit(df)
    future = future_of(df)
    path = stored(future, tmp_path / "future")
    equal(forecaster.predict(stored(df, tmp_path / "rows"), path), forecaster.predict(df, future))
    equal(forecaster.predict(df, path), forecaster.predict(df, future))


def test_validation_on_disk(tmp_path):
    df = rows()
    early = df[df["timestamp"] < "2024-01-02"]
    expected = S5Forecaster(**REGULAR).fit(early, validation=df)
    found = S5Forecaster(**REGULAR).fit(stored(early, tmp_path / "early"), validation=stored(df, tmp_path / "rows"))
    equal(found.predict(), expected.predict())


def test_backtest(tmp_path):
    df, path = rows(), stored(rows(), tmp_path / "rows")
    expected = S5Forecaster(**REGULAR).backtest(df, windows=2, metrics=["WQL"])
    found = S5Forecaster(**REGULAR).backtest(path, windows=2, metrics=["WQL"])
    equal(found.forecasts, expected.forecasts)
    pd.testing.assert_frame_equal(found.metrics[["WQL"]], expected.metrics[["WQL"]], check_exact=True)
    equal(
        backtest("naive", path, prediction_length=3, freq="h").forecasts,
        backtest("naive", df, prediction_length=3, freq="h").forecasts,
    )


def test_comparison(tmp_path):
    df, path = rows(), stored(rows(), tmp_path / "rows")
    models = {"s5": S5Forecaster(**REGULAR), "naive": "naive"}
    expected, found = (compare(models, data, 3, windows=2, metrics=["WQL"]) for data in (df, str(path)))
    for name in models:
        equal(found.backtests[name].forecasts, expected.backtests[name].forecasts)
    assert found.baseline == "naive" and found.leaderboard()["rank"].equals(expected.leaderboard()["rank"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {"preset": "fine_tuned", "estimator_kwargs": {"num_steps": 2}},
        {"preset": "best", "estimator_kwargs": {"max_epochs": 1, "num_batches_per_epoch": 2}},
        {"estimator_kwargs": {**SMALL, "distr_output": "auto"}},
        pytest.param({"time_limit": 600}, marks=pytest.mark.filterwarnings("ignore:time_limit=600:UserWarning")),
    ],
    ids=["fine_tuned", "best", "auto", "time_limit"],
)
def test_what_is_trained_in_memory(parameters, tmp_path):
    df, path = rows(), stored(rows(), tmp_path / "rows")
    expected, found = (S5Forecaster(**{**REGULAR, **parameters}).fit(data).predict() for data in (df, path))
    equal(found, expected)


def test_one_part(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_data, "PART_ROWS", 1000)
    df, forecaster = rows(), S5Forecaster.pretrained(3, freq="h")
    equal(forecaster.predict(stored(df, tmp_path / "rows")), forecaster.predict(df))


def test_irregular_backtest(tmp_path):
    df, parameters = irregular(), CASES["irregular"][1]
    results = [
        S5Forecaster(**parameters).backtest(data, fraction=0.8, metrics=["WQL"])
        for data in (df, stored(df, tmp_path / "rows"))
    ]
    equal(*(result.forecasts for result in results))


def test_folders_of_partitions(tmp_path):
    df = rows()
    df.to_parquet(tmp_path / "rows", partition_cols=["item_id"])
    forecaster = S5Forecaster(**{**REGULAR, "preset": "zero_shot", "estimator_kwargs": None})
    ordered = df.sort_values("item_id", kind="stable")
    equal(forecaster.predict(tmp_path / "rows").astype({"item_id": object}), forecaster.predict(ordered))


def test_calibrated_and_other_verbs(tmp_path):
    df, path = rows(), stored(rows(), tmp_path / "rows")
    calibrated = [S5Forecaster(**REGULAR).fit(data).calibrate(data, windows=4, method="split") for data in (df, path)]
    equal(calibrated[1].predict(), calibrated[0].predict())
    drawing = {**REGULAR, "estimator_kwargs": {**SMALL, "recursion": "encoder"}, "model": "autoregressive"}
    paths = [S5Forecaster(**drawing).fit(data) for data in (df, path)]
    equal(paths[1].predict_samples(num_samples=4), paths[0].predict_samples(num_samples=4))
    equal(paths[1].predict_samples(path, num_samples=4), paths[0].predict_samples(df, num_samples=4))
    equal(paths[0].stream(path).predict(), paths[0].stream(df).predict())
    entries = [paths[0].to_gluonts(data) for data in (df, path)]
    for first, second in zip(*entries, strict=True):
        np.testing.assert_array_equal(first["target"], second["target"])


class TestErrors:
    def test_missing_files(self, tmp_path):
        with pytest.raises(ValueError, match=r"there is no file, folder or pattern of files '.*none\.parquet'"):
            S5Forecaster(3).fit(tmp_path / "none.parquet")

    def test_other_files(self, tmp_path):
        (tmp_path / "rows.csv").write_text("item_id,timestamp,target\n")
        with pytest.raises(ValueError, match="cannot be read as Parquet"):
            S5Forecaster(3).fit(tmp_path / "rows.csv")

    def test_missing_column(self, tmp_path):
        path = stored(rows().rename(columns={"target": "targets"}), tmp_path / "rows")
        with pytest.raises(ValueError, match=r"df has no column 'target'; did you mean 'targets'\?"):
            S5Forecaster(3).fit(path)

    def test_file_without_a_column(self, tmp_path):
        path = stored(rows(), tmp_path / "rows")
        pd.read_parquet(path / "1.parquet").drop(columns="target").to_parquet(path / "1.parquet", index=False)
        with pytest.raises(ValueError, match=r"the file .*1\.parquet has no column 'target', unlike others"):
            S5Forecaster(3).fit(path)

    def test_changed_files(self):
        batch = pa.record_batch({"target": [1.0, 2.0, 3.0]})
        for lengths in ([2], [2, 3]):
            with pytest.raises(ValueError, match="the files have changed while they were read"):
                list(consecutive_parts([batch], np.array(lengths), batch.schema))

    def test_multivariate(self, tmp_path):
        path = stored(rows(), tmp_path / "rows")
        with pytest.raises(ValueError, match="forecasts all series together and takes data in memory"):
            S5Forecaster(**REGULAR, model="multivariate").fit(path)

    def test_verbs_in_memory(self, tmp_path):
        path = stored(rows(), tmp_path / "rows")
        with pytest.raises(ValueError, match=r"got str; data on disk are not read here; pass a frame, such as pandas"):
            S5Forecaster(**REGULAR).fit(rows()).plot(str(path))

    def test_times(self, tmp_path):
        df = irregular()
        parameters = CASES["irregular"][1]
        forecaster = S5Forecaster(**parameters).fit(df)
        with pytest.raises(ValueError, match="times= requires data in memory"):
            forecaster.predict(stored(df, tmp_path / "rows"), times=df[["item_id", "timestamp"]])

    @pytest.mark.parametrize("late", ["e", "c"])  # the first part, and another one
    def test_several_frequencies(self, late, tmp_path):
        df = every_other_hour(late)
        for data in (df, stored(df, tmp_path / "rows")):
            with pytest.raises(ValueError, match=rf"series '{late}': its frequency '2h' differs from 'h' of series"):
                S5Forecaster(3).fit(data)

    def test_irregular_series_end_the_reading(self, tmp_path, monkeypatch):
        df = irregular()
        inferred, infer = [], Frequency.infer
        monkeypatch.setattr(Frequency, "infer", lambda stamps, name: inferred.append(name) or infer(stamps, name))
        for data in (df, stored(df, tmp_path / "rows")):
            with pytest.raises(ValueError, match=f"series '{df['item_id'][0]}' has no regular frequency"):
                S5Forecaster(3).fit(data)
        assert len(inferred) == 2

    def test_one_row_of_each_series(self, tmp_path):
        df = rows().drop_duplicates("item_id")
        for data in (df, stored(df, tmp_path / "rows")):
            with pytest.raises(ValueError, match=r"one common frequency \(one row each\); pass freq="):
                S5Forecaster(3).fit(data)

    def test_reasons_are_those_of_all_parts(self, tmp_path):
        df = faulty()
        for data in (df, stored(df, tmp_path / "rows")):
            with pytest.raises(ValueError, match=r"more than once|no observed value") as error:
                S5Forecaster(**REGULAR).fit(data)
            assert set(error.value.reasons) <= {"series 'b'", "series 'c'"}


def faulty():
    """Rows in which series b repeats a time and c has no value."""
    df = rows()
    df.loc[df["item_id"] == "c", "target"] = np.nan
    return pd.concat([df, df[df["item_id"] == "b"].head(1)], ignore_index=True)


def every_other_hour(item):
    """Rows in which a series has another frequency than the others."""
    df, first = rows(), pd.Timestamp("2024-01-01")
    late = df["item_id"] == item
    df.loc[late, "timestamp"] = first + 2 * (df["timestamp"] - first)
    return df


class TestSkipping:
    @pytest.mark.parametrize("late", ["e", "c"])
    def test_series_of_another_frequency_are_left_out(self, late, tmp_path):
        df = every_other_hour(late)
        forecasts, texts = [], []
        for data in (df, stored(df, tmp_path / "rows")):
            forecaster = S5Forecaster(**{**REGULAR, "freq": "infer"}, on_error="skip")
            with pytest.warns(UserWarning, match="1 series is left out") as warned:
                forecaster.fit(data)
            forecasts.append(forecaster.predict())
            texts.append([str(one.message) for one in warned])
        equal(*forecasts)
        assert texts[0] == texts[1]

    def test_series_whose_horizon_is_too_late_are_left_out(self, tmp_path):
        df = rows()
        late = df["item_id"] == "c"
        df.loc[late, "timestamp"] += pd.Timestamp("2262-04-11 22:00") - df.loc[late, "timestamp"].max()
        forecasts = []
        for data in (df, stored(df, tmp_path / "rows")):
            forecaster = S5Forecaster(**REGULAR, on_error="skip")
            with pytest.warns(UserWarning, match="1 series is left out: 'c'"):
                forecaster.fit(data)
            forecasts.append(forecaster.predict())
        equal(*forecasts)

    def test_bad_series_are_left_out(self, tmp_path):
        df = faulty()
        forecasts = []
        for data in (df, stored(df, tmp_path / "rows")):
            forecaster = S5Forecaster(**REGULAR, on_error="skip")
            with pytest.warns(UserWarning, match="2 series are left out: '[bc]', '[bc]'"):
                forecaster.fit(data)
            assert set(forecaster.skipped_["item_id"]) == {"b", "c"}
            forecasts.append(forecaster.predict())
        equal(*forecasts)

    def test_side_table(self, tmp_path):
        df = with_covariates()
        future = future_of(df)
        future = future[~future["item_id"].isin(list(df["item_id"].unique()[:2]))]  # the whole first part
        forecaster = S5Forecaster(**REGULAR, known=["price"], on_error="skip").fit(df)
        path = stored(df, tmp_path / "rows")
        with pytest.warns(UserWarning, match="2 series are left out"):
            folder = forecaster.predict(path, future, output=tmp_path / "forecasts")
        with pytest.warns(UserWarning, match="2 series are left out"):
            expected = forecaster.predict(df, future)
        equal(pd.read_parquet(folder), expected)
        skipped = pd.read_parquet(folder / "_skipped.parquet")
        assert skipped["item_id"].tolist() == df["item_id"].unique()[:2].tolist()
        assert skipped["reason"].str.contains("future= has no rows for it").all()
        pd.testing.assert_frame_equal(forecaster.skipped_, skipped)

    @pytest.mark.parametrize("name", ["numbers", "categories", "two columns"])
    def test_series_are_identified_as_in_the_data(self, name, tmp_path):
        make, parameters = CASES[name]
        df = make()
        df["price"] = 1.0
        keys = list(np.atleast_1d(parameters.get("item_id", "item_id")))
        first = df[keys].drop_duplicates().iloc[:2]  # the whole first part
        future = df.groupby(keys, observed=True, as_index=False)["timestamp"].max().assign(price=1.0)
        future = pd.concat(
            [future.assign(timestamp=future["timestamp"] + pd.Timedelta(hours=step)) for step in (1, 2, 3)]
        )
        future = future[~pd.MultiIndex.from_frame(future[keys]).isin(pd.MultiIndex.from_frame(first))]
        df = pd.concat([df, df[df["number"] == 0].head(1)], ignore_index=True)  # an error that reading finds
        forecaster = S5Forecaster(**parameters, known=["price"], on_error="skip").fit(df[df["number"] > 0])
        path = stored(df, tmp_path / "rows")
        with pytest.warns(UserWarning, match="left out") as warned:
            expected = forecaster.predict(df, future)
            in_memory = forecaster.skipped_
            equal(forecaster.predict(path, future).astype(expected.dtypes), expected)
            pd.testing.assert_frame_equal(forecaster.skipped_.astype(in_memory.dtypes), in_memory)
            for _ in range(2):  # the second call forecasts nothing
                folder = forecaster.predict(path, future, output=tmp_path / "forecasts")
                pd.testing.assert_frame_equal(forecaster.skipped_.astype(in_memory.dtypes), in_memory)
            side = pd.read_parquet(folder / "_skipped.parquet")
            pd.testing.assert_frame_equal(side.astype(in_memory.dtypes), in_memory)
            result = backtest("naive", path, 3, freq="h", columns={"item_id": keys}, on_error="skip")
        assert len({str(one.message) for one in warned}) == 2  # of predict and of backtest
        assert list(result.skipped) == [*keys, "reason"] and len(result.skipped) == 1


class TestFolder:
    def forecast(self, tmp_path, seed=0, **kwargs):
        forecaster = S5Forecaster(**REGULAR, seed=seed).fit(rows())
        return forecaster.predict(stored(rows(), tmp_path / "rows"), output=tmp_path / "forecasts", **kwargs)

    def test_finished_parts_are_not_repeated(self, tmp_path):
        folder = self.forecast(tmp_path)
        expected = pd.read_parquet(folder)
        (folder / "part-000001.parquet").unlink()
        kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
        (folder / ".part-000001.parquet.tmp").write_text("interrupted")
        self.forecast(tmp_path)
        assert {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*") if path.name in kept} == kept
        equal(pd.read_parquet(folder), expected)
        assert not list(folder.glob(".*.tmp"))

    def test_another_model_is_refused(self, tmp_path):
        self.forecast(tmp_path)
        with pytest.raises(ValueError, match="holds forecasts of another call: model differ"):
            self.forecast(tmp_path, seed=1)

    def test_other_data_are_refused(self, tmp_path):
        folder = self.forecast(tmp_path)
        forecaster = S5Forecaster(**REGULAR).fit(rows())
        changed = rows().assign(target=lambda df: df["target"] + (df.index == 3))
        with pytest.raises(ValueError, match="holds forecasts of another call: data differ"):
            forecaster.predict(stored(changed, tmp_path / "rows"), output=folder)

    def test_other_levels_are_refused(self, tmp_path):
        self.forecast(tmp_path)
        with pytest.raises(ValueError, match="holds forecasts of another call: request differ"):
            self.forecast(tmp_path, quantile_levels=[0.5])

    @pytest.mark.parametrize("text", ["", "{", "[1]"])
    def test_a_damaged_manifest_is_refused(self, tmp_path, text):
        (self.forecast(tmp_path) / "_manifest.json").write_text(text)
        with pytest.raises(ValueError, match=r"_manifest\.json is damaged; give a new folder"):
            self.forecast(tmp_path)

    def test_other_files_are_refused(self, tmp_path):
        (tmp_path / "forecasts").mkdir()
        (tmp_path / "forecasts" / "mine.txt").write_text("")
        with pytest.raises(ValueError, match=r"has other files and no _manifest\.json"):
            self.forecast(tmp_path)

    def test_frames_in_memory(self, tmp_path):
        forecaster = S5Forecaster(**REGULAR).fit(rows())
        folder = forecaster.predict(output=tmp_path / "forecasts")
        equal(pd.read_parquet(folder), forecaster.predict())
        assert json.loads((folder / "_manifest.json").read_text())["series"] == 5


def test_frequency_of_later_parts(tmp_path):
    df = rows()
    early = df["item_id"].isin(df["item_id"].unique()[:2])  # those of the first part
    df = df[~early | ~df["item_id"].duplicated()]
    forecasts = []
    for data in (df, stored(df, tmp_path / "rows")):
        found = S5Forecaster(**{**REGULAR, "freq": "infer"}).fit(data)
        assert found.frequency_.alias == "h"
        with pytest.warns(UserWarning, match="fewer than 4 values were observed"):
            forecasts.append(found.predict())
    equal(*forecasts)


def test_irregular_series_are_left_out(tmp_path):
    df = rows()
    odd = df["item_id"].isin(df["item_id"].unique()[[0, 1, 3]])
    df["timestamp"] += pd.to_timedelta(odd * np.random.default_rng(4).integers(0, 3000, len(df)), unit="s")
    forecasts, skipped = [], []
    for data in (df, stored(df, tmp_path / "rows")):
        forecaster = S5Forecaster(**{**REGULAR, "freq": "infer"}, on_error="skip")
        with pytest.warns(UserWarning, match="3 series are left out"):
            forecaster.fit(data)
        forecasts.append(forecaster.predict())
        skipped.append(forecaster.skipped_.sort_values("item_id", ignore_index=True))
    equal(*forecasts)
    pd.testing.assert_frame_equal(*skipped)


def test_one_warning_of_each_kind(tmp_path):
    df = rows().sort_values(["number", "timestamp"])
    df = df[df.groupby("item_id").cumcount() % 10 != 5]
    messages = []
    for data in (df, stored(df, tmp_path / "rows")):
        with pytest.warns(UserWarning) as warned:
            S5Forecaster(**REGULAR).fit(data)
        messages.append([str(one.message) for one in warned])
    assert messages[0] == messages[1] and len(messages[0]) == 1


@pytest.mark.parametrize("name", ["regular", "sample paths", "ensemble"])
def test_missing_known_values_are_reported_once(name, tmp_path):
    df = with_covariates()
    parameters = REGULAR if name == "regular" else CASES[name][1]
    forecaster = S5Forecaster(**parameters, known=["price", "event"]).fit(df)
    future = future_of(df).assign(price=np.nan)
    path, texts = stored(df, tmp_path / "rows"), []
    for data, output in ((df, None), (path, None), (path, tmp_path / "forecasts")):
        with pytest.warns(UserWarning) as warned:
            forecaster.predict(data, future, output=output)
        (one,) = warned
        assert one.filename == __file__
        texts.append(str(one.message))
    assert "and 4 other series: the known covariates ['price'] are missing" in texts[0]
    assert texts[1] == texts[2]
    assert texts[0] == texts[1] or name == "sample paths"  # the parts are in another order


def test_errors_of_the_rows_ahead(tmp_path):
    df = with_covariates()
    future = future_of(df)
    future.loc[[0, 5], "price"] = np.inf
    left_out = future.loc[[0, 5], "item_id"].nunique()
    path, forecasts = stored(df, tmp_path / "rows"), []
    for on_error in ("raise", "skip"):
        forecaster = S5Forecaster(**REGULAR, known=["price"], on_error=on_error).fit(df)
        for data in (df, path):
            if on_error == "raise":
                with pytest.raises(ValueError, match=r"column 'price' is infinite"):
                    forecaster.predict(data, future)
            else:
                with pytest.warns(UserWarning, match=f"{left_out} series .* left out"):
                    forecasts.append(forecaster.predict(data, future))
    equal(*forecasts)


def test_temporary_files_are_removed(tmp_path):
    scratch = tmp_path / "scratch"
    forecaster = S5Forecaster(**REGULAR).fit(DiskData(stored(rows(), tmp_path / "rows"), folder=scratch))
    forecaster.predict()
    del forecaster
    assert not any(scratch.iterdir())


KILLED = """
    import os, signal, sys
    import s5forecast.forecast_folder as folders
    from s5forecast import S5Forecaster
    from s5forecast.estimators.training import ForecastModule
    rows, training, forecasts, last_step, last_part = *sys.argv[1:4], *map(int, sys.argv[4:])
    steps, parts = [], []
    training_step, write = ForecastModule.training_step, folders.ForecastFolder.write
    def step_or_die(self, *arguments):
        if len(steps) == last_step:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(self.global_step)
        return training_step(self, *arguments)
    def write_and_die(self, number, *arguments):
        write(self, number, *arguments)
        parts.append(number)
        if len(parts) == last_part:
            os.kill(os.getpid(), signal.SIGKILL)
    ForecastModule.training_step, folders.ForecastFolder.write = step_or_die, write_and_die
    short = {"max_epochs": 2, "num_batches_per_epoch": 3, "device": "cpu"}
    f = S5Forecaster(7, freq="D", estimator_kwargs=short, verbose=False).fit(rows, checkpoint=training)
    f.predict(output=forecasts)
    print(steps, parts)
"""


@pytest.mark.slow
def test_killed_training_and_prediction_of_many_series_resume(tmp_path):
    series, steps = 50_000, 40
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=steps, freq="D")
    (tmp_path / "rows").mkdir()
    for number, chunk in enumerate(np.array_split(np.arange(series), 5)):
        table = pd.DataFrame(
            {
                "item_id": np.tile([f"series {one}" for one in chunk], steps),
                "timestamp": np.repeat(days, len(chunk)),
                "target": rng.poisson(20, steps * len(chunk)).astype(float),
            }
        )
        table.to_parquet(tmp_path / "rows" / f"{number}.parquet", index=False)

    def call(last_step, last_part, name="resumed"):
        folders = [tmp_path / "rows", tmp_path / f"{name}-training", tmp_path / name]
        arguments = [*map(str, folders), str(last_step), str(last_part)]
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), *arguments], stdout=subprocess.PIPE, text=True
        )

    assert call(5, -1).returncode == -9  # in the second epoch
    assert call(-1, 3).returncode == -9  # after the training, and three parts of the forecasts
    parts = sorted((tmp_path / "resumed").glob("part-*"))
    times = {path: path.stat().st_mtime_ns for path in parts}
    assert len(parts) == 3
    resumed, whole = call(-1, -1), call(-1, -1, "whole")
    total = len(list((tmp_path / "whole").glob("part-*")))
    assert resumed.stdout == f"[] {list(range(3, total))}\n"
    assert whole.stdout == f"{list(range(6))} {list(range(total))}\n"
    assert {path: path.stat().st_mtime_ns for path in parts} == times
    forecasts = pd.read_parquet(tmp_path / "resumed")
    assert len(forecasts) == series * 7
    assert not forecasts.duplicated(["item_id", "timestamp"]).any()
    assert forecasts["item_id"].nunique() == series
    pd.testing.assert_frame_equal(forecasts, pd.read_parquet(tmp_path / "whole"), check_exact=True)
