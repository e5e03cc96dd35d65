"""Series that are forecast together."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.alignment import common_span, raise_not_joint, raise_unaligned
from s5forecast.data.faults import SeriesError
from s5forecast.data.frames import Columns
from s5forecast.data.regular_frames import read_frame


def test_the_common_span_does_not_depend_on_the_order():
    spans = [(0, 5), (1, 5), (1, 4), (0, 5), (1, 4)]
    assert common_span(spans) == common_span(spans[::-1]) == (0, 5)
    assert common_span([(0, 5), (3, 2), (1, 5)]) == (1, 5)


def test_series_with_another_span_are_named():
    raise_unaligned({"a": (0, 5)})
    with pytest.raises(SeriesError, match="series 'b' has 4 steps from 1, unlike most series, which have 5") as caught:
        raise_unaligned({"a": (0, 5), "b": (1, 4), "c": (0, 5), 4: (0, 4)})
    assert list(caught.value.reasons) == ["series 'b'", "series 4"]


def test_unknown_series_are_named_first():
    times = pd.date_range("2024", periods=6, freq="h")
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": times[begin:], "target": np.arange(6.0 - begin)})
        for item, begin in {"a": 0, "b": 0, "c": 1}.items()
    ]
    series, _ = read_frame(pd.concat(parts), Columns())
    with pytest.raises(SeriesError) as caught:
        raise_not_joint(series, ["a", "c"])
    assert list(caught.value.reasons) == ["series 'b'"] and "not one of the training data" in str(caught.value)
    with pytest.raises(SeriesError) as caught:
        raise_not_joint(series)
    assert list(caught.value.reasons) == ["series 'c'"]
    assert len(raise_not_joint(series.take([0, 1]), ["a", "b"])) == 2
    alone, _ = read_frame(parts[0].drop(columns="item_id"), Columns())
    assert len(raise_not_joint(alone, ["0"])) == 1
