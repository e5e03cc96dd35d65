"""Imports go one way, and the top level stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import s5forecast

ROOT = Path(s5forecast.__file__).parent
# What a subpackage may import from the others; whatever is not named is free of them.
ALLOWED = {
    "ops": set(),
    "ssm": {"ops"},
    "nn": {"ops", "ssm", "distributions"},
    "distributions": set(),
    "data": set(),
    "evaluation": {"data", "plotting"},
    "plotting": {"data", "evaluation"},
    "estimators": {"ops", "ssm", "nn", "distributions", "data"},
}
FREE_OF_TORCH = ("evaluation", "plotting")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_subpackage_has_its_rule():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "s5forecast" and len(parts) > 1 and (ROOT / parts[1]).is_dir():
                assert parts[1] in ALLOWED[package] | {package}, f"{path.name} imports {name}"
            if package in FREE_OF_TORCH:
                assert parts[0] not in ("torch", "lightning") and "gluonts.torch" not in name, path.name


def test_datasets_is_no_package():
    assert not (ROOT.parent / "datasets" / "__init__.py").exists()


def test_importing_is_light():
    program = "import sys, s5forecast; assert not {'torch', 'gluonts', 'pandas'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_evaluation_and_plotting_load_without_torch():
    program = "import sys, s5forecast.evaluation, s5forecast.plotting; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_table_of_contents():
    assert set(s5forecast.__all__) == {
        "S5AutoregressiveEstimator", "S5ContinuousEstimator", "S5Estimator", "S5Forecaster",
        "S5MultivariateEstimator", "S5Predictor", "backtest", "list_datasets", "load_dataset", "regularize",
    }  # fmt: skip
    for name in s5forecast.__all__:
        assert callable(getattr(s5forecast, name)) and name in dir(s5forecast)
    with pytest.raises(AttributeError, match="S6Forecaster"):
        _ = s5forecast.S6Forecaster
