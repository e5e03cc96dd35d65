"""The examples in docstrings run and print what they show."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import s5forecast
from s5forecast import S5Estimator, S5Forecaster, backtest, load_dataset, regularize
from s5forecast.distributions.student_t import StudentT
from s5forecast.evaluation import calibrate, compare
from s5forecast.ops import linear_scan
from s5forecast.plotting import plot_forecast
from s5forecast.ssm import S5

ROOT = Path(s5forecast.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
MODULES = [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in FILES]
WITH_EXAMPLE = (
    S5Forecaster, S5Estimator, load_dataset, regularize, backtest, compare, calibrate, linear_scan, S5, StudentT,
    plot_forecast,
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_show(name):
    failed, attempted = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert attempted and not failed


@pytest.mark.parametrize("public", WITH_EXAMPLE, ids=lambda public: public.__name__)
def test_the_main_names_have_an_example(public):
    assert ">>> " in public.__doc__
