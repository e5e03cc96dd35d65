"""Examples run as they stand, and quietly."""

import importlib.util
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
WITHOUT_TRAINING, LAYERS = "06_without_training", "07_layers_and_memory"
PLOTLY = "application/vnd.plotly.v1+json"
SHORT = '{"max_epochs": 1, "num_batches_per_epoch": 5'
RECENT = {"nyc_departures_hourly": "2013-11-15", "nyc_flight_delays_q1": "2013-02-20"}
SHORTER = {
    "S5Forecaster(prediction_length=24,": f"S5Forecaster(estimator_kwargs={SHORT}}}, prediction_length=24,",
    '{"scaling": "global"': f'{SHORT}, "scaling": "global"',
    '{"max_epochs": 16': SHORT,
    '{"max_epochs": 20}': '{"max_epochs": 1, "limit_train_batches": 2}',
    "windows=7": "windows=2",
    "windows=28": "windows=4",
    '"2013-03-31"': '"2013-03-18"',
    **{
        f'load_dataset("{name}")': f'load_dataset("{name}").query("timestamp >= \'{since}\'").reset_index(drop=True)'
        for name, since in RECENT.items()
    },
}
SHORTER_TRAINING = {"STEPS = 300": "STEPS = 3"}  # of a loop in the notebook, which splits the whole year


def replacements(name):
    return SHORTER_TRAINING if name == LAYERS else SHORTER


def run(path, folder, short):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for long, shorter in replacements(path.stem).items() if short else ():
            cell.source = cell.source.replace(long, shorter)
    NotebookClient(notebook, timeout=2400, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def check(notebook, folder):
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    written = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "Warning" not in written
    assert sum(PLOTLY in output.get("data", {}) for output in outputs) >= 3
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_saved_with_their_outputs_and_images(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)], "run `make notebooks`"
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    assert not any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)
    figures = [output.data for output in outputs if PLOTLY in output.get("data", {})]
    assert len(figures) >= 3 and all("image/png" in figure for figure in figures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_with_a_short_training(path, tmp_path):
    notebook = run(path, tmp_path, short=True)
    marks = {WITHOUT_TRAINING: "", LAYERS: "STEPS = 3\n"}
    assert marks.get(path.stem, SHORT) in "".join(cell.source for cell in notebook.cells)
    check(notebook, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_as_they_are(path, tmp_path):
    check(run(path, tmp_path, short=False), tmp_path)


@pytest.mark.slow
def test_the_demo_beats_seasonal_naive_and_writes_its_files(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    table = demo.main(tmp_path / "out")
    assert table["WQL"].iloc[0] < 0.8 * table["WQL"].iloc[1]
    forecast = pd.read_csv(tmp_path / "out" / "forecast.csv")
    assert len(forecast) == 20 * 24 and forecast.notna().all(axis=None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "seasonal naive" in page and 'src="http' not in page
    printed = capsys.readouterr().out
    assert str(tmp_path / "out" / "report.html") in printed
