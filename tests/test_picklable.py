"""Models that another process has unpickled are saved and identified like those of the process that created them."""

import pickle
import subprocess
import sys

import pytest
from saved_models import FIXTURES, load

from s5forecast.aliases import load as load_predictor
from s5forecast.evaluation.fingerprint import fingerprint

# One process of its own for each model, since the classes of a model get their methods once in a process.
SAVE = """
    import pathlib, pickle, sys
    from s5forecast.evaluation.fingerprint import fingerprint
    path = pathlib.Path(sys.argv[1])
    predictor = pickle.loads((path / "predictor.pkl").read_bytes())
    predictor.serialize(path / "saved")
    print(fingerprint(predictor), predictor == pickle.loads(pickle.dumps(predictor)))
"""
NAMES = ["direct_features", "continuous_numbers", "ensemble", "peer", "baseline_naive", "calibrated"]


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
def test_unpickled_predictor_is_saved(name, tmp_path):
    predictor, _ = load(next(FIXTURES.glob(f"*/{name}")))
    (tmp_path / "predictor.pkl").write_bytes(pickle.dumps(predictor))
    (tmp_path / "saved").mkdir()
    program = "\n".join(line.strip() for line in SAVE.splitlines())
    found = subprocess.run([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True, check=True)
    assert found.stdout.split() == [fingerprint(predictor), "True"]
    assert load_predictor(tmp_path / "saved", None) == predictor
