"""Models saved by earlier versions load and make the same forecasts."""

import numpy as np
import pytest
from saved_models import FIXTURES, forecasts, load

FOLDERS = sorted(path.parent for path in FIXTURES.glob("*/*/input.json"))


def test_saved_models_exist():
    assert FOLDERS, f"{FIXTURES} holds no models; restore them from git, or write new ones with tests/fixtures/make.py"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(FIXTURES)))
def test_forecasts_of_a_saved_model_stay_the_same(folder):
    found = forecasts(*load(folder))
    with np.load(folder / "expected.npz", allow_pickle=False) as expected:
        assert set(found) == set(expected.files)
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
