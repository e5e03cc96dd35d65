"""Imports that would make a saved model slow to load."""

import subprocess
import sys

import pytest

NUMERICAL = ["numba", "pandas", "scipy.special", "scipy.stats", "sklearn"]
HEAVY = ["gluonts.torch", "lightning", "torch._dynamo", "triton", *NUMERICAL]
FORBIDDEN = {
    "s5forecast.distributions": HEAVY,
    "s5forecast.nn": [*HEAVY, "gluonts"],
    "s5forecast.ops": [*HEAVY, "gluonts"],
    "s5forecast.ssm": [*HEAVY, "gluonts"],
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_import_is_light(module):
    program = f"import sys, {module}; print([name for name in {FORBIDDEN[module]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
