"""Packed names equal the names that they were made of."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.items import label_keys
from s5forecast.data.series_names import PackedNames, SeriesNames

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")

COLUMNS = {
    "text": ["b", "a", "", "é", "c"],
    "numbers": [7, 3, 5, 1, 2],
    "mixed": ["b", 3, 1.5, "a", True],
    "large": [2**70, 1, 2, 3, 4],
    "categories": pd.Categorical(["b", "a", "d", "e", "c"]),
    "times": pd.date_range("2024-01-01", periods=5, tz="Europe/Berlin"),
}


def names(*columns):
    keys = pd.DataFrame({name: COLUMNS[name] for name in columns})
    labels = [str(row) if len(columns) != 1 else row[0] for row in keys.itertuples(index=False)] if columns else [None]
    return SeriesNames(labels, label_keys(keys if columns else pd.DataFrame(index=range(1)), labels))


def equal(found, expected):
    assert found.items == expected.items and list(map(type, found.items)) == list(map(type, expected.items))
    pd.testing.assert_frame_equal(found.keys, expected.keys)


@pytest.mark.parametrize("columns", [(), *((name,) for name in COLUMNS), ("text", "numbers"), ("categories", "text")])
def test_packed_names_equal_the_names(columns):
    expected = names(*columns)
    positions = np.arange(len(expected))[::-2]
    few = positions[:1]
    packed = PackedNames.of(expected)
    equal(packed, expected)
    equal(packed.take(positions), expected.take(positions))
    assert packed.label(few[0]) == expected.label(few[0])
    parts = [expected.take(positions), expected.take(few)]
    joined = PackedNames.joined([PackedNames.of(part) for part in parts])
    together = np.concatenate([positions, few])
    equal(joined, expected.take(together))
    assert len(joined) == len(together)
    equal(PackedNames.joined([packed]), expected)


def test_parts_of_different_types():
    parts = [names("text"), names("numbers")]
    keys = [part.keys.set_axis(["key"], axis=1) for part in parts]
    parts = [SeriesNames(part.items, key) for part, key in zip(parts, keys, strict=True)]
    joined = PackedNames.joined([PackedNames.of(part) for part in parts])
    assert joined.items == parts[0].items + parts[1].items
    assert joined.keys["key"].tolist() == joined.items
