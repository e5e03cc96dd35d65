"""The accuracy benchmark runs, resumes and reports."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARK = ROOT / "benchmarks" / "forecasting"
SHARED = ROOT.parent / "shared" / "data" / "gluonts"


def run(script, *arguments):
    command = [sys.executable, BENCHMARK / script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="benchmark data are not here")
def test_the_smoke_suite_beats_seasonal_naive_and_resumes(tmp_path):
    arguments = ("--data", SHARED, "--suite", "smoke", "--results", tmp_path)
    run("run.py", *arguments, "--model", "default", "seasonal_naive")
    wql = {
        name: pd.read_csv(tmp_path / f"{name}.csv", index_col="task")["WQL"] for name in ("default", "seasonal_naive")
    }
    assert len(wql["default"]) == 2
    assert (wql["default"] < wql["seasonal_naive"]).all()
    assert run("run.py", *arguments, "--model", "default", "seasonal_naive") == ""


def test_the_report_lists_models_best_first(tmp_path):
    published = pd.read_csv(BENCHMARK / "published.csv").query("model == 'PatchTST'")
    better = published[["task", "WQL", "MASE"]].assign(WQL=published["WQL"] / 2, seed=0, version="0")
    unused = ["sMAPE", "coverage_80", "coverage_90", "train_seconds", "predict_seconds", "parameters"]
    better.assign(**dict.fromkeys(unused, 1.0)).to_csv(tmp_path / "default.csv", index=False)
    text = run("report.py", "--results", tmp_path)
    assert text.index("default (ours)") < text.index("PatchTST")
    assert (tmp_path / "report.md").read_text().startswith("# Forecast accuracy")
    assert "GIFT-Eval" in (tmp_path / "report.html").read_text()


def test_the_figure_of_accuracy_and_time_has_a_point_for_every_model_run_here(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    report = importlib.import_module("report")
    measured = report.read_results(BENCHMARK / "results")
    scores = pd.concat([measured, report.read_published()], ignore_index=True)
    figure = report.accuracy_against_time({"own": report.suite_table(scores, "own")}, measured)
    ours, others = figure.data
    assert "default" in ours.text and {"DeepAR", "AutoETS"} <= set(others.text)
    own = measured[measured["task"].str.startswith("own/") & (measured["model"] == report.LABELS["deepar"])]
    seconds = np.exp(np.log(own["train_seconds"] + own["predict_seconds"]).mean())
    assert others.x[list(others.text).index("DeepAR")] == pytest.approx(seconds)
