"""Imports that would make a saved model slow to load."""

import subprocess
import sys

import pytest

FORBIDDEN = ["gluonts.torch", "lightning", "sklearn", "scipy.stats", "scipy.special", "numba"]


@pytest.mark.parametrize("module", ["s5forecast.distributions", "s5forecast.nn", "s5forecast.ssm"])
def test_import_is_light(module):
    program = f"import sys, {module}; print([name for name in {FORBIDDEN} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
