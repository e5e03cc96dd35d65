"""S5Forecaster.check: findings, statistics and settings before training, without an exception for bad data."""

import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from frame_kinds import KINDS, class_of, make, plain

from s5forecast import S5Forecaster
from s5forecast.__main__ import main
from s5forecast.data.check import MAX_SHOWN
from s5forecast.plotting import write_check

H = 6
SMALL = dict(width=8, num_layers=1, state_size=4, num_batches_per_epoch=2, max_epochs=1, batch_size=4, device="cpu")


def hours(items=("a", "b", "c"), n=80, freq="h"):
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-01-01", periods=n, freq=freq),
                "target": rng.normal(10, 1, n).round(3),
                "price": rng.normal(size=n),
                "shop": item.upper(),
            }
        )
        for item in items
    ]
    return pd.concat(parts, ignore_index=True)


def changed(rows, column, value):
    df = hours()
    df.loc[rows, column] = value
    return df


def forecaster(**parameters):
    return S5Forecaster(**{"prediction_length": H, "freq": "h", "verbose": False, **parameters})


def found(check):
    return {(row.severity, row.check): row for row in check.findings[::-1].itertuples()}


def test_good_data_have_no_findings():
    check = forecaster(freq="infer", static=["shop"], estimator_kwargs={"context_length": 48}).check(hours())
    assert check.passed and check.findings.empty
    assert str(check).startswith(
        "Check of 3 series, 240 rows from 2024-01-01 00:00:00 to 2024-01-04 07:00:00, frequency 'h': nothing to report"
    )
    assert check.series["item_id"].tolist() == ["a", "b", "c"]
    assert (check.series[["rows", "steps"]] == 80).all(axis=None) and (check.series["gaps"] == 0).all()


# How data are changed, and the severity, the name, the series and a part of the message of what is found.
PLANTED = {
    "gaps": (hours().drop(index=[20, 21]), "warning", "reading", "a", "2 timestamps are absent"),
    "duplicates": (pd.concat([hours(), hours()[90:92]]), "error", "invalid", "b", "2024-01-01 10:00:00 more than once"),
    "nothing observed": (changed(slice(80, 159), "target", np.nan), "error", "invalid", "b", "no observed value"),
    "infinite": (changed(3, "target", np.inf), "error", "invalid", "a", "is infinite at 2024-01-01 03:00:00"),
    "missing time": (changed(3, "timestamp", pd.NaT), "error", "invalid", "a", "missing timestamps"),
    "missing series": (changed(3, "item_id", None), "error", "invalid", None, "column 'item_id' has missing values"),
    "off the grid": (
        hours().assign(timestamp=lambda df: df["timestamp"] + pd.to_timedelta((df.index == 85) * 5, "min")),
        "error", "invalid", "b", "is not on the grid",
    ),
    "changing static": (changed(3, "shop", "Z"), "error", "invalid", "a", "static column 'shop' changes"),
    "constant": (changed(slice(0, 79), "target", 5.0), "warning", "constant", "a", "one value in all 80 observed rows"),
    "stretch": (changed(slice(170, 189), "target", 5.0), "note", "stretches", "c", "same value in 20 consecutive rows"),
    "outlier": (changed(100, "target", 9999.0), "warning", "outliers", "b", "has 1 value more than three"),
    "zeros": (changed(slice(0, 59), "target", 0.0), "note", "zeros", "a", "is 0 in 60 of 80 observed rows"),
    "missing": (changed(slice(80, 139), "target", np.nan), "note", "missing", "b", "no value in 60 of 80 rows"),
    "negative counts": (
        hours().assign(target=lambda df: df["target"].round() - 30 * (df.index == 4)),
        "warning", "negative", "a", "whole numbers, of which 1 is negative",
    ),
    "early end": (hours().drop(index=range(150, 160)), "note", "ends", "b", "ends at 2024-01-03 21:00:00"),
    "no column": (hours().drop(columns="target"), "error", "invalid", None, "no column 'target'"),
    "text": (hours().assign(target=lambda df: df["target"].astype(str)), "error", "invalid", "a", "must hold numbers"),
    "not a frame": ([1, 2, 3], "error", "invalid", None, "must be a data frame"),
    "empty": (hours()[:0], "error", "invalid", None, "df has no rows"),
    "wide": (
        hours().pivot(index="timestamp", columns="item_id", values="target"),
        "error", "invalid", None, r"from_wide\(df\)",
    ),
    "two frequencies": (
        pd.concat([hours(), hours(["d"], freq="D")]), "error", "invalid", "d", "do not have one common frequency",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(name):
    df, severity, kind, item, message = PLANTED[name]
    check = forecaster(freq="infer" if name == "two frequencies" else "h", static=["shop"]).check(df)
    row = found(check)[severity, kind]
    assert re.search(message, row.message) and row.item_id == item
    assert check.passed == (severity != "error")
    assert f"{severity:8} {kind:13} " in str(check)
    assert "<html" in write_check(check)


@pytest.mark.parametrize("name", [name for name, planted in PLANTED.items() if planted[1] == "error"])
def test_errors_are_those_of_fit(name):
    df = PLANTED[name][0]
    model = forecaster(freq="infer" if name == "two frequencies" else "h", static=["shop"])
    with pytest.raises(ValueError) as raised:
        model.fit(df)
    assert str(raised.value) in list(model.check(df).findings["message"])


STRANGE = {
    "None": None,
    "text": "file.csv",
    "a list of entries": [{"target": [1.0]}],
    "no columns": pd.DataFrame(),
    "one row": hours(n=1)[:1],
    "two levels of columns": pd.DataFrame(np.ones((3, 2)), columns=pd.MultiIndex.from_product([["x"], ["a", "b"]])),
    "repeated columns": pd.concat([hours(), hours()[["target"]]], axis=1),
    "names of mixed types": hours().assign(item_id=[1, "a", ("a", 1)] * 80),
    "mixed times": hours().assign(timestamp=["soon", 3, pd.Timestamp("2024-01-01")] * 80),
    "years outside of nanoseconds": hours().assign(timestamp=np.arange("1500", "1740", dtype="datetime64[Y]")),
    "two time zones": hours().assign(timestamp=["2024-01-01T00:00+01:00", "2024-01-01T00:00+02:00"] * 120),
    "durations": hours().assign(timestamp=pd.to_timedelta(np.arange(240), "h")),
    "complex": hours().assign(target=1j),
    "objects": hours().assign(target=[[1], {}, None] * 80),
    "all missing": hours().assign(target=np.nan),
    "no times": hours().assign(timestamp=pd.NaT),
    "no series": hours().assign(item_id=None),
    "huge": hours().assign(target=lambda df: df["target"] * 1e300),
    "integers too large": hours().assign(target=2**62),
    "categories": hours().assign(item_id=lambda df: df["item_id"].astype("category"), target=1),
}
PARAMETERS = {
    "regular": {},
    "inferred": {"freq": "infer"},
    "integer": {"freq": 1},
    "irregular": {"freq": None, "horizon": "6h"},
    "multivariate": {"model": "multivariate"},
    "columns": {"known": ["price"], "static": ["shop"], "item_id": ["item_id", "shop2"]},
}


@pytest.mark.parametrize("name", STRANGE)
def test_nothing_is_raised_for_bad_data(name):
    for parameters in PARAMETERS.values():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check = forecaster(**parameters).check(STRANGE[name])
        assert str(check).startswith("Check")
        assert "<html" in write_check(check)


def test_invalid_arguments_are_raised():
    with pytest.raises(ValueError, match="unknown model"):
        forecaster(model="other").check(hours())


@pytest.mark.parametrize("shift", [-2, -1, 0, 1, 4])
def test_a_known_column_that_gives_the_target_away(shift):
    df = hours().assign(copy=lambda df: df.groupby("item_id")["target"].shift(-shift), price=1.0)
    df["copy"] = df["copy"].fillna(0.0)
    row = found(forecaster(known=["price", "copy"]).check(df))["warning", "leakage"]
    names = {-2: "2 steps earlier", -1: "1 step earlier", 0: "of the same row", 1: "1 step later", 4: "4 steps later"}
    assert f"known column 'copy' equals 'target' {names[shift]} in" in row.message


@pytest.mark.parametrize("shift, leaks", [(-1, False), (0, False), (1, True), (H, True), (H + 1, True)])
def test_a_past_column_that_gives_the_target_away(shift, leaks):
    df = hours().assign(copy=lambda df: df.groupby("item_id")["target"].shift(-shift))
    row = found(forecaster(past=["price", "copy"]).check(df)).get(("warning", "leakage"))
    assert (row is not None) == leaks
    assert not leaks or f"past column 'copy' equals 'target' {shift} step" in row.message


def test_a_leak_names_its_series():
    df = hours().assign(copy=lambda df: df.groupby("item_id")["target"].shift(-2))
    df.loc[df["item_id"] == "a", "copy"] = df["price"]
    row = found(forecaster(past=["copy"]).check(df))["warning", "leakage"]
    assert (
        row.series == 2 and row.item_id == "b" and "2 steps later in 2 of 3 series, such as series 'b';" in row.message
    )


def test_leaks_of_categories_and_irregular_series():
    df = hours(n=200).assign(target=lambda df: (df["target"] > 10) + 1)
    df["copy"] = df.groupby("item_id")["target"].shift(-3).astype("category")
    assert found(forecaster(past=["copy"]).check(df))["warning", "leakage"].series == 3
    df["timestamp"] += pd.to_timedelta(df.index % 7, "min")
    assert found(forecaster(freq=None, past=["copy"]).check(df))["warning", "leakage"].series == 3


def test_warnings_count_and_name_their_series():
    check = forecaster().check(hours().drop(index=[100, 170, 171]))
    row = found(check)["warning", "reading"]
    assert row.series == 2 and row.item_id == "c"
    row = found(forecaster().check(hours(["a"]).drop(index=[20]).drop(columns="item_id")))["warning", "reading"]
    assert row.series == 1 and row.item_id is None


def test_covariates_of_every_kind():
    pytest.importorskip("holidays")
    df = hours().assign(event=lambda df: df["item_id"].where(df.index % 9 == 0), weight=2.0)
    names = {"known": ["event"], "past": ["price"], "static": ["shop"], "holidays": "US", "weight": "weight"}
    future = df.assign(timestamp=df["timestamp"] + pd.Timedelta("80h")).groupby("item_id").head(H)
    check = forecaster(**names).check(df, future)
    assert check.passed and check.series["known_ahead"].tolist() == [H] * 3
    assert not {"leakage", "future"} & set(check.findings["check"])
    wrong = found(forecaster(**names).check(df.assign(weight=-1.0)))["error", "invalid"]
    assert "weight" in wrong.message


def test_columns_that_are_no_copies():
    lagged = hours().assign(price=lambda df: df.groupby("item_id")["target"].shift(H).fillna(0.0))
    assert ("warning", "leakage") not in found(forecaster(known=["price"]).check(lagged))
    mostly_zero = hours().assign(
        target=lambda df: (df.index % 40 == 3) * 5.0, price=lambda df: (df.index % 40 == 20) * 1.0
    )
    assert ("warning", "leakage") not in found(forecaster(known=["price"]).check(mostly_zero))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_known_columns_over_the_horizon(zone):
    df = hours()
    df["timestamp"] = df["timestamp"].dt.tz_localize(zone)
    number = df.groupby("item_id").cumcount()
    past, future = df[number < 80 - H], df[number >= 80 - H].drop(columns="target")
    model = forecaster(known=["price"])
    assert "check(df, future=...)" in found(model.check(past))["note", "future"].message
    complete = model.check(past, future)
    assert complete.passed and complete.series["known_ahead"].tolist() == [H] * 3
    partial = model.check(past, future.drop(index=[79, 158, 159]))
    assert partial.series["known_ahead"].tolist() == [H - 1, H - 2, H]
    warning = found(partial)["warning", "future"]
    assert partial.passed and warning.series == 2 and warning.item_id == "a" and "are masked" in warning.message
    absent = model.check(past, future[future["item_id"] != "b"])
    assert absent.series["known_ahead"].tolist() == [H, 0, H] and found(absent)["error", "future"].item_id == "b"
    with pytest.raises(ValueError, match="no column 'price'"):
        raise ValueError(found(model.check(past, future.drop(columns="price")))["error", "future"].message)
    twice = model.check(past, pd.concat([future, future.head(1)]))
    assert "more than once" in found(twice)["error", "future"].message and not twice.passed
    assert twice.series["known_ahead"].tolist() == [pd.NA, H, H] and found(twice)["error", "future"].item_id == "a"
    unnamed = found(model.check(past, future[future["item_id"] == "a"].drop(columns="item_id")))["error", "future"]
    assert "it is in the histories only" in unnamed.message


def test_future_text_is_read_as_predict_does():
    df = hours().assign(event=["none", "sale"] * 120, price=1.0)
    number = df.groupby("item_id").cumcount()
    past, future = df[number < 80 - H], df[number >= 80 - H].drop(columns="target")
    model = forecaster(known=["event", "price"])
    assert model.check(past, future).series["known_ahead"].tolist() == [H] * 3
    unknown = found(model.check(past, future.assign(event="SALE")))["warning", "future"]
    assert "no value of the column 'event' is a category of the training" in unknown.message
    text = found(model.check(past, future.assign(price="high")))["error", "future"]
    assert text.item_id == "a" and "column 'price' had numbers in training but has 'high' here" in text.message
    missing = model.check(past, future.assign(price=[None] * len(future)))
    assert missing.series["known_ahead"].tolist() == [0] * 3
    infinite = found(model.check(past, future.assign(price=np.inf)))["error", "future"]
    assert infinite.item_id == "a" and "infinite" in infinite.message


def test_times_of_irregular_series():
    df = hours().assign(event=["none", "sale"] * 120)
    df["timestamp"] += pd.to_timedelta(df.index % 7, "min")
    number = df.groupby("item_id").cumcount()
    past, times = df[number < 80 - H], df[number >= 80 - H].drop(columns="target")
    model = forecaster(freq=None, horizon="8h", known=["price", "event"])
    assert "check(df, times=...)" in found(model.check(past))["note", "times"].message
    complete = model.check(past, times=times)
    assert complete.passed and complete.series["known_ahead"].tolist() == [H] * 3
    assert "times" not in set(complete.findings["check"])
    times.loc[79, "price"] = np.nan
    partial = model.check(past, times=times[times["item_id"] != "b"])
    assert partial.series["known_ahead"].tolist() == [H - 1, pd.NA, H]
    warning = found(partial)["warning", "times"]
    assert warning.series == 1 and warning.item_id == "a" and "are masked" in warning.message
    infinite = model.check(past, times=times.assign(price=times["price"].where(times.index != 159, np.inf)))
    assert infinite.series["known_ahead"].tolist() == [H - 1, pd.NA, H]
    assert found(infinite)["error", "times"].item_id == "b"
    early = found(model.check(past, times=past))["error", "times"]
    assert "is not after the last observation" in early.message
    far = times.assign(timestamp=times["timestamp"] + pd.Timedelta("30D"), price=1.0)
    warning = found(model.check(past, times=far))["warning", "times"]
    assert "ahead; the model was trained for" in warning.message and warning.series == 3
    warning = found(model.check(past, times=far[far["item_id"] == "c"]))["warning", "times"]
    assert warning.series == 1 and warning.item_id == "c"
    wrong = found(model.check(past, times))["error", "times"]
    assert "pass the known columns in times=" in wrong.message
    wrong = found(forecaster().check(hours(), times=times))["error", "future"]
    assert "require irregular series" in wrong.message


def test_known_columns_of_several_irregular_targets():
    df = hours().rename(columns={"target": "wind"}).assign(rain=1.0)
    times = df.groupby("item_id").head(H).assign(timestamp=lambda df: df["timestamp"] + pd.Timedelta("99h"))
    model = forecaster(freq=None, target=["wind", "rain"], known=["price"])
    assert model.check(df, times=times).series["known_ahead"].tolist() == [H] * 6


def test_settings_are_those_of_the_training():
    df = hours(n=120)
    model = forecaster(estimator_kwargs=SMALL)
    expected = model.fit(df).summary()
    choices = model.check(df).choices.set_index("name")
    assert {"frequency", "context_length", "lags_seq", "distr_output", "scaling", "max_epochs"} <= {*choices.index}
    for name, row in choices.iterrows():
        assert str(expected.loc[name, "value"]) == str(row["value"]), name


@pytest.mark.parametrize("rows, tuned", [(80, True), (1700, False)])
def test_the_network_for_few_values(rows, tuned):
    names = forecaster().check(hours(n=rows)).choices["name"].tolist()
    assert ("network" in names) == tuned and ("context_length" in names) != tuned


SETTINGS = {
    "autoregressive": {"model": "autoregressive"},
    "multivariate": {"model": "multivariate"},
    "best": {"preset": "best"},
    "time limit": {"time_limit": 5},
    "zero_shot": {"preset": "zero_shot"},
    "fine_tuned": {"preset": "fine_tuned"},
    "irregular": {"freq": None, "horizon": "6h"},
    "automatic output": {"estimator_kwargs": {"distr_output": "auto"}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_every_model(name):
    check = forecaster(**SETTINGS[name]).check(hours())
    assert check.passed and len(check.choices) > 1 and "training would use" in str(check)


def test_why_nothing_can_be_trained():
    model, df = forecaster(estimator_kwargs={"distr_output": "negative_binomial"}), changed(3, "target", 1.5)
    check = model.check(df)
    with pytest.raises(ValueError) as raised:
        model.fit(df)
    assert found(check)["error", "training"].message == str(raised.value)
    assert check.choices.empty and "nothing can be trained" in str(check)


def test_irregular_series_of_several_targets():
    df = hours().rename(columns={"target": "wind", "price": "rain"})
    df["timestamp"] += pd.to_timedelta(np.random.default_rng(0).integers(0, 30, len(df)), "min")
    df.loc[5, "rain"] = 1e5
    check = forecaster(freq=None, target=["wind", "rain"]).check(df)
    assert check.series["target"].tolist() == ["wind"] * 3 + ["rain"] * 3 and "irregular" in check.scope
    assert check.series["step"].between(pd.Timedelta("30min"), pd.Timedelta("90min")).all()
    assert found(check)["warning", "outliers"].message.startswith("column 'rain': series 'a' has 1 value")
    assert "<html" in write_check(check)


def test_many_errors_are_shortened():
    df = hours([f"s{number:02}" for number in range(MAX_SHOWN + 5)])
    check = forecaster().check(pd.concat([df, df]))
    assert len(check.findings) == MAX_SHOWN + 5 and "and 5 more" in str(check)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_every_kind(kind):
    df = PLANTED["outlier"][0]
    expected, check = forecaster(static=["shop"]).check(df), forecaster(static=["shop"]).check(make(kind, df))
    for name in ("series", "findings"):
        assert isinstance(getattr(check, name), class_of(kind))
        pd.testing.assert_frame_equal(plain(getattr(check, name)), plain(getattr(expected, name)))
    assert str(check) == str(expected)
    assert len(write_check(check)) == pytest.approx(len(write_check(expected)), rel=0.01)


def test_the_command_line(tmp_path, capsys):
    hours().rename(columns={"target": "sales", "timestamp": "hour"}).to_csv(tmp_path / "good.csv", index=False)
    names = ["--target", "sales", "--timestamp", "hour"]
    given = ["check", str(tmp_path / "good.csv"), *names, "--prediction-length", "6"]
    assert main([*given, "--page", str(tmp_path / "check.html")]) == 0
    assert "frequency 'h': nothing to report" in capsys.readouterr().out
    assert (tmp_path / "check.html").stat().st_size > 10**6
    assert main([*given, "--freq", "none"]) == 0
    assert main([*given, "--past", "price", "--weight", "sale"]) == 1
    assert "no column 'sale'" in capsys.readouterr().out
    assert main(given[:2]) == 1
    assert "no column 'timestamp'" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "absent.csv")])
    assert ended.value.code == 2 and "absent.csv" in capsys.readouterr().err


def test_the_command_line_without_holidays(monkeypatch, tmp_path, capsys):
    hours().to_csv(tmp_path / "a.csv", index=False)
    monkeypatch.setattr("s5forecast.data.holiday_calendar.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "a.csv"), "--holidays", "US"])
    message = capsys.readouterr().err
    assert ended.value.code == 2 and "pip install 's5forecast[holidays]'" in message and message.count("\n") == 1


def test_the_command_line_with_times(tmp_path, capsys):
    df = hours()
    df.to_csv(tmp_path / "a.csv", index=False)
    df.assign(timestamp=df["timestamp"] + pd.Timedelta("80h")).to_csv(tmp_path / "b.csv", index=False)
    given = ["check", str(tmp_path / "a.csv"), "--known", "price", "--prediction-length", "80"]
    assert main([*given, "--freq", "none", "--times", str(tmp_path / "b.csv")]) == 0
    assert main([*given, "--future", str(tmp_path / "b.csv")]) == 0
    assert "known columns" not in capsys.readouterr().out


def test_a_file_with_semicolons_and_decimal_commas(tmp_path, capsys):
    hours().to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    given = ["check", str(tmp_path / "a.csv"), "--past", "price", "--static", "shop", "--prediction-length", "6"]
    assert main(given) == 0 and "3 series, 240 rows" in capsys.readouterr().out


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "s5forecast", "check", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--prediction-length" in done.stdout
