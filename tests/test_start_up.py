"""Imports that would make a saved model, or the pretrained network, slow to load."""

import subprocess
import sys
from pathlib import Path

import pytest

NUMERICAL = ["numba", "pandas", "scipy.special", "scipy.stats", "sklearn"]
HEAVY = ["gluonts.torch", "lightning", "torch._dynamo", "triton", *NUMERICAL]
FORBIDDEN = {
    "s5forecast.distributions": HEAVY,
    "s5forecast.nn": [*HEAVY, "gluonts"],
    "s5forecast.ops": [*HEAVY, "gluonts"],
    "s5forecast.ssm": [*HEAVY, "gluonts"],
}

UNNEEDED = [name for name in HEAVY if name != "pandas"] + ["plotly", "sympy"]


@pytest.mark.parametrize("module", FORBIDDEN)
def test_import_is_light(module):
    program = f"import sys, {module}; print([name for name in {FORBIDDEN[module]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_saved_model_forecasts_one_series_without_heavy_imports():
    program = f"""
import sys
from pathlib import Path
import pandas as pd
from s5forecast import S5Forecaster
sys.path.insert(0, {str(Path(__file__).parent)!r})
from saved_models import FIXTURES, read_input
folder = FIXTURES / "0.1.0" / "forecaster"
given = read_input(folder)
history, future = (given[name][given[name]["item_id"] == "a"] for name in ("history", "future"))
forecast = S5Forecaster.load(folder / "model").predict(history, future)
assert len(forecast) > 0
print([name for name in {UNNEEDED} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_pretrained_network_forecasts_without_heavy_imports():
    program = """
import sys
import pandas as pd
from s5forecast import S5Forecaster
df = pd.DataFrame({"item_id": "a", "timestamp": pd.date_range("2024", periods=100, freq="h"), "target": range(100)})
forecast = S5Forecaster.pretrained(prediction_length=24).predict(df)
assert len(forecast) == 24
print([name for name in ("gluonts.torch", "lightning", "torch._dynamo", "sklearn", "plotly") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
