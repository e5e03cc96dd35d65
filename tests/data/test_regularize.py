"""Irregular series resampled to a regular grid."""

import pandas as pd
import pytest
from test_irregular_sampling import frame

from s5forecast import regularize


def test_regularize_counts_added_and_merged_rows():
    found = regularize(frame(), "D", "y")
    assert found.added.to_dict() == {"b": 0, "a": 1} and found.merged.to_dict() == {"b": 1, "a": 1}
    a = found.frame[found.frame["item_id"] == "a"]["y"]
    assert a.iloc[0] == 6.0 and a.iloc[1:].isna().all() and len(a) == 3
    indexed = regularize(frame().set_index(["item_id", "timestamp"]), "D", "y")
    assert all(a.equals(b) for a, b in zip(indexed, found, strict=True))
    assert regularize(frame(), "D", "y", aggregate="last").frame["y"].iloc[0] == 2.0


def test_integer_times_are_not_resampled():
    with pytest.raises(
        ValueError, match=r"regularize\(\) requires datetimes, but freq=1 is for .* S5Forecaster\(freq=1\)"
    ):
        regularize(frame(), 1, "y")


def test_wide_frames_are_refused_with_their_conversion():
    wide = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, pd.date_range("2024", periods=2, freq="h"))
    with pytest.raises(ValueError, match=r"frame = s5forecast\.from_wide\(frame\)"):
        regularize(wide, "h")


@pytest.mark.parametrize(
    ("times", "fix"),
    [
        ([1_577_836_800, 1_577_840_400], r"convert it: frame\['timestamp'\] = pd.to_datetime\(.*, unit='s'\)$"),
        ([0.5, 7.0], r"convert it: .* = pd.to_datetime\(frame\['timestamp'\], unit=...\) with the unit of the values$"),
        (pd.to_timedelta([1, 2], "h"), r"add the time at which it starts: frame\['timestamp'\] = pd.Timestamp"),
    ],
)
def test_times_that_are_no_datetimes(times, fix):
    with pytest.raises(ValueError, match=rf"column 'timestamp' of frame must hold datetimes, got .*; {fix}") as caught:
        regularize(pd.DataFrame({"timestamp": times, "target": 1.0}), "h")
    assert "freq=" not in str(caught.value)
