"""Order of the rows of a frame."""

import numpy as np
import pytest

from s5forecast.data.ordering import FEW, row_order


@pytest.mark.parametrize("series", [1, 40, FEW + 5])
@pytest.mark.parametrize("few_times", [True, False])
def test_the_order_is_stable_by_series_and_time(series, few_times):
    rng = np.random.default_rng(0)
    codes = rng.integers(series, size=3 * FEW)
    times = rng.integers(7 if few_times else 10**12, size=len(codes)) - 5
    assert np.array_equal(row_order(times, codes), np.lexsort((times, codes)))


def test_sorted_rows_have_no_order():
    codes, times = np.array([0, 0, 0, 1, 1]), np.array([1.5, 2.0, 2.0, 0.0, 9.0])
    assert row_order(times, codes) is None
    assert row_order(times, codes[::-1]).tolist() == [3, 2, 4, 0, 1]
