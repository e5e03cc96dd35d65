"""The code of the documentation runs, and the reference has every public name."""

import re
from functools import partial
from importlib import import_module
from types import ModuleType

import lightning.pytorch as pl
import pytest
from pages import DOCS, pages_with_code, run_page

from s5forecast.presets import PRESETS

MODULES = ("", ".distributions", ".estimators", ".evaluation", ".nn", ".ops", ".plotting", ".presets", ".ssm")
TYPES = {"DistributionOutput", "Output", "ParametricOutput", "State", "AUTO"}  # of annotations, and a constant


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("page", pages_with_code())
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    if "import polars" in (DOCS / page).read_text():
        pytest.importorskip("polars", reason="Polars is not installed: pip install -c constraints.txt '.[polars]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pl, "Trainer", partial(shortened, pl.Trainer))
    monkeypatch.setitem(PRESETS, "fine_tuned", PRESETS["fine_tuned"]._replace(arguments={"num_steps": 1}))
    run_page(page)


def shortened(trainer, **arguments):
    return trainer(**{**arguments, "max_epochs": 1, "limit_train_batches": 2})


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module):
    reference = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    missing = {*public_names(import_module(f"s5forecast{module}"))} - TYPES - {*re.findall(r"\w+", reference)}
    assert not missing, "add them to a page of docs/api"


def public_names(module):
    exported = [name for name, value in vars(module).items() if not isinstance(value, ModuleType)]
    return getattr(module, "__all__", [name for name in exported if not name.startswith("_")])
