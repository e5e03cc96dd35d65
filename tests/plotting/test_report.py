"""The report page."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s5forecast.evaluation import compare
from s5forecast.evaluation.backtest import Backtest, backtest
from s5forecast.evaluation.baselines import NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.leaderboard import leaderboard
from s5forecast.plotting.report import write_report

STAMPS = pd.date_range("2024-01-01", periods=100, freq="h")


@pytest.fixture(scope="module")
def history():
    time = np.arange(100)
    values = {"<small>": np.sin(time / 4), "large": 50 + 9 * np.sin(time / 4) + np.cos(3 * time)}
    return pd.concat([pd.DataFrame({"item_id": item, "timestamp": STAMPS, "target": y}) for item, y in values.items()])


@pytest.fixture(scope="module")
def backtests(history):
    groups = history.groupby("item_id")["target"]
    entries = [{"item_id": i, "start": pd.Period(STAMPS[0], "h"), "target": y.to_numpy()} for i, y in groups]
    predictors = {"first & best": SeasonalNaivePredictor(8, 25), "naive": NaivePredictor(8)}
    results = {n: backtest(p, entries, prediction_length=8, windows=3, name=n) for n, p in predictors.items()}
    results["first & best"] = replace(results["first & best"], fit_seconds=1.25)
    return results


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(backtests, history):
    future = backtests["naive"].forecasts.drop(columns=["target", "cutoff"]).tail(16)
    return write_report(backtests, title="A <title>", history=history, forecast=future, note="5 < 6")


def test_one_page_without_network(text):
    page = Page(text)
    assert not [attrs for attrs in page.all("script") if "src" in attrs]
    assert not page.all("link") and not page.all("img") and not page.all("iframe")
    assert text.count("plotly.js v") == 1
    assert str(Path(__file__).parents[2]) not in text and len(text) < 8e6
    assert "sendChartToCloud" not in re.sub(r"<script>.*?</script>", "", text, count=1, flags=re.DOTALL)


def test_report_has_all_sections(text):
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "Leaderboard",
        "Forecast",
        "Backtest windows",
        "Error over the horizon",
        "Score over time",
        "Calibration",
        "PIT histogram",
        "Coverage against width",
    ]
    for name in ("forecast", "backtest", "horizon", "time", "calibration", "pit", "width"):
        assert f'<div id="{name}"' in text
    assert "A &lt;title&gt;" in text and "5 &lt; 6" in text and "<small>" not in text
    assert "2 series, 3 windows of 8 steps: first &amp; best has a WQL of" in text
    assert re.search(r"\d+ % lower than naive", text)


def test_selectors_list_the_best_series_then_the_worst(text):
    page = Page(text)
    assert [attrs["label"] for attrs in page.all("optgroup")] == ["forecast best", "forecast worst"] * 2
    assert [attrs["data-figure"] for attrs in page.all("select")] == ["forecast", "backtest"]
    assert [attrs["value"] for attrs in page.all("option")] == ["large", "<small>"] * 2


def test_best_values_are_highlighted(text, backtests):
    rows = re.findall(r"<tr><th>(.*?)</th>(.*?)</tr>", text)
    table = {name: re.findall(r"<td(.*?)>(.*?)</td>", cells) for name, cells in rows}
    assert list(table) == ["model", "first &amp; best", "naive"]
    assert table["first &amp; best"][0][0] == ' class="best"' and not table["naive"][0][0]
    assert table["first &amp; best"][4][1] == "1.250" and table["naive"][4][1] == "–"
    backwards = dict(reversed(backtests.items()))
    assert list(leaderboard(backwards).columns[-2:]) == ["fit_seconds", "predict_seconds"]


def test_page_is_written_to_the_given_path(backtests, tmp_path):
    path = write_report(list(backtests.values())[:1], tmp_path / "report.html")
    assert path == tmp_path / "report.html"
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and 'id="forecast"' not in page
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_frame_without_seasonal_errors_is_reported_too(backtests):
    other = Backtest.from_frame(backtests["naive"].forecasts, name="x", metrics=("coverage_80", "WQL"))
    assert "coverage of 80 %" in write_report([other])


def test_perfect_rival_is_omitted_from_the_summary(backtests):
    perfect = backtests["naive"].forecasts.copy()
    for column in ("mean", *(f"0.{level}" for level in range(1, 10))):
        perfect[column] = perfect["target"]
    best = replace(backtests["naive"], name="oracle", forecasts=perfect)
    assert "naive has a WQL of" in write_report([backtests["naive"], best])


def test_a_single_step_has_no_error_over_the_horizon(backtests):
    first = backtests["naive"].forecasts.groupby(["item_id", "cutoff"]).head(1)
    assert 'id="horizon"' not in write_report([replace(backtests["naive"], forecasts=first)])


def test_names_must_differ(backtests):
    for wrong in ([], [backtests["naive"]] * 2):
        with pytest.raises(ValueError, match="two of the same name"):
            write_report(wrong)


class Comparison:
    """The interface of a comparison that a report uses."""

    def __init__(self, backtests):
        self.backtests = dict(reversed(backtests.items()))

    def leaderboard(self):
        table = leaderboard(self.backtests).iloc[::-1]
        table.insert(0, "skill", 1 - table["WQL"] / table["WQL"].max())
        return table

    def pairwise(self):
        pairs = [("first & best", "naive"), ("naive", "first & best")]
        shares = {"wins": [0.75, 0.25], "wins_lower": [0.6, 0.1], "wins_upper": [0.9, 0.4], "p_value": [0.01, 0.01]}
        return pd.DataFrame(shares, pd.MultiIndex.from_tuples(pairs, names=["model", "other"]))


def test_report_of_a_comparison_has_pairwise_wins_and_starts_with_the_best(backtests):
    text = write_report(Comparison(backtests))
    assert re.findall(r"<h2>(.*?)</h2>", text)[:2] == ["Leaderboard", "Pairwise comparison"]
    assert "first &amp; best has a WQL of" in text and "Forecasts of each window by first &amp; best" in text
    assert "<strong>75 % *</strong>" in text and "<th>skill</th>" in text


def test_report_of_a_comparison_starts_with_the_best_and_draws_the_baseline(history):
    models = {name: name for name in ("seasonal_naive", "drift", "constant", "naive")}
    result = compare(models, history, 8, windows=6, baseline="drift", metrics=("WQL", "coverage_80"))
    order = list(result.leaderboard().index)
    text = write_report(result)
    assert f"Forecasts of each window by {order[0]}" in text and "The median of drift is drawn" in text
    assert re.findall(r"<tr><th>([a-z_]+)</th><td", text) == order * 2
    assert re.search(r"<th>wins of … over</th>" + "".join(f"<th>{name}</th>" for name in order), text)


def test_report_of_one_model_has_every_section(backtests):
    text = write_report(backtests["naive"])
    for name in ("backtest", "horizon", "time", "calibration", "pit", "width"):
        assert f'<div id="{name}"' in text
    assert "Pairwise comparison" not in text


def test_best_and_worst_of_many_series_are_drawn(backtests):
    frame = backtests["naive"].forecasts
    one = frame[frame["item_id"] == "large"]
    levels = [f"0.{level}" for level in range(1, 10)]
    shifted = [one.assign(item_id=f"s{k:02d}", **dict.fromkeys(levels, one["target"] + k)) for k in range(40)]
    many = pd.concat(shifted)
    listed = [attrs["value"] for attrs in Page(write_report(Backtest.from_frame(many, metrics=("WQL",)))).all("option")]
    assert listed == [f"s{k:02d}" for k in [*range(15), *range(39, 24, -1)]]


def test_only_the_last_windows_are_drawn(backtests):
    frame = backtests["naive"].forecasts
    later = [frame.assign(**{c: frame[c] + pd.Timedelta(days=k) for c in ("cutoff", "timestamp")}) for k in range(8)]
    assert "The last 14 windows are drawn" in write_report(Backtest.from_frame(pd.concat(later), metrics=("WQL",)))


def test_backtests_of_other_windows_are_refused(history):
    data = history[history["item_id"] == "large"]
    several = [backtest("naive", data, 8, windows=count, name=str(count)) for count in (1, 2)]
    with pytest.raises(ValueError, match=r"not backtested on the same .* they have 8 and 16 rows"):
        write_report(several)
