"""NetworkPredictor: loading without Lightning and GluonTS's networks."""

import subprocess
import sys

import numpy as np
import pytest
from gluonts.model.predictor import Predictor
from gluonts.torch.model.predictor import PyTorchPredictor

from s5forecast import S5Predictor
from s5forecast.estimators import CombinedPredictor, EnsemblePredictor
from s5forecast.estimators.predictor import NetworkPredictor, load_predictor
from s5forecast.evaluation.baselines import NaivePredictor

LEVELS = [0.1, 0.5, 0.9]
HEAVY = ("lightning", "gluonts.torch", "sklearn", "scipy.stats")


def test_light_predictor_equals_the_adapter(make_one, data, tmp_path):
    predictor = make_one().train(data)
    predictor.choices = {"scaling": "standard"}
    predictor.serialize(tmp_path)
    light = load_predictor(tmp_path, "cpu")
    assert type(light) is NetworkPredictor and light.choices == predictor.choices
    for found, expected in zip(
        light.predict_quantiles(data, LEVELS), predictor.predict_quantiles(data, LEVELS), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_folders_of_the_light_predictor_are_read_by_gluonts(make_one, data, tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    predictor = make_one().train(data)
    predictor.serialize(tmp_path / "first")
    load_predictor(tmp_path / "first").serialize(tmp_path / "second")
    again = Predictor.deserialize(tmp_path / "second")
    assert isinstance(again, S5Predictor) and isinstance(again, PyTorchPredictor) and again == predictor
    (tmp_path / "second" / "choices.json").unlink()
    assert load_predictor(tmp_path / "second").choices == {}


@pytest.mark.parametrize("combine", [EnsemblePredictor, lambda members: CombinedPredictor(members, [0.5, 0.5])])
def test_members_are_light(make_one, data, tmp_path, combine):
    together = combine([make_one().train(data), make_one(seed=1).train(data)])
    together.serialize(tmp_path)
    loaded = load_predictor(tmp_path)
    assert [type(member) for member in loaded.members] == [NetworkPredictor] * 2
    found, expected = (one.predict_quantiles(data, LEVELS)[1] for one in (loaded, together))
    np.testing.assert_array_equal(found, expected)


def test_other_predictors_are_read_too(tmp_path):
    NaivePredictor(4).serialize(tmp_path)
    assert isinstance(load_predictor(tmp_path, "cpu"), NaivePredictor)


def test_reading_a_predictor_needs_neither_lightning_nor_the_networks_of_gluonts(make_one, data, tmp_path):
    EnsemblePredictor([make_one().train(data), make_one(distr_output="student_t").train(data)]).serialize(tmp_path)
    program = (
        "import sys; from s5forecast.estimators.predictor import load_predictor\n"
        f"load_predictor(sys.argv[1]); print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.strip() == "[]", run.stdout + run.stderr


def test_training_continues_from_a_light_predictor(make_one, data, tmp_path):
    estimator = make_one()
    estimator.train(data).serialize(tmp_path)
    again = estimator.train_from(load_predictor(tmp_path), data)
    assert isinstance(again, PyTorchPredictor)
    expected = estimator.train(data, from_predictor=load_predictor(tmp_path))
    np.testing.assert_array_equal(*(one.predict_quantiles(data, LEVELS)[1] for one in (again, expected)))
