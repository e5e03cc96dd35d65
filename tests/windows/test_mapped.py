"""Windows of series on disk equal those of the same series in memory."""

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast import DiskData
from s5forecast.data import disk_data, mapped_entries, mapped_table
from s5forecast.data.content import by_content
from s5forecast.data.frames import Columns
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.spec import FeatureSpec, WindowSpec
from s5forecast.data.statics import StaticFeatures
from s5forecast.windows.batches import read_store
from s5forecast.windows.mapped import MappedStore

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")

H = 3
COLUMNS = Columns(known=("price", "event"), past=("sales",), static=("size", "shop"), weight="weight")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(disk_data, "PART_ROWS", 50)
    monkeypatch.setattr(mapped_table, "BLOCK_ROWS", 40)
    monkeypatch.setattr(mapped_entries, "READ_SERIES", 2)


def frame(freq, tz, dtype):
    rng, parts = np.random.default_rng(0), []
    for number, length in enumerate((2, 30, 9, 14, 45, 5)):
        target = rng.poisson(3, length).astype(dtype)
        target[1:][rng.random(length - 1) < (0.8 if number == 3 else 0.1)] = np.nan
        part = {
            "item_id": f"item {number}",
            "timestamp": pd.date_range("2024-03-29", periods=length, freq=freq, tz=tz),
            "target": target * (0.5 if number == 4 else 1),
            "price": rng.normal(size=length),
            "event": rng.choice(["fair", "sale", None], size=length),
            "sales": rng.normal(size=length),
            "size": 1.5 * number,
            "shop": "xy"[number % 2],
            "weight": rng.integers(1, 4, size=length),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("freq", "tz"), [("h", None), ("2h", "Europe/Berlin"), ("D", "Europe/Berlin"), ("MS", None)])
def test_windows_equal_those_in_memory(freq, tz, dtype, tmp_path):
    df = frame(freq, tz, dtype)
    df.to_parquet(tmp_path / "rows.parquet", index=False)
    stores = []
    for data in (df, DiskData(tmp_path / "rows.parquet")):
        sampling, table = RegularSampling(COLUMNS, H).learn(data)
        statics = StaticFeatures.learn(table, COLUMNS)
        features = FeatureSpec(1, 1, 1, 1, [2], [], weighted=True)
        spec = WindowSpec(sampling.alias, 6, H, [1, 7], features=features)
        stores.append(read_store(by_content(sampling.entries(table, statics)), spec, forecast=False))
    memory, disk = stores
    assert isinstance(disk, MappedStore)
    for name in ("length", "counts", "static_real", "static_cat"):
        torch.testing.assert_close(getattr(disk, name), getattr(memory, name), rtol=0, atol=0)
    index = memory.trainable().repeat(20)
    cut = memory.training_cuts(index, torch.rand(len(index), generator=torch.Generator().manual_seed(0)))
    for batches in (
        [store.gather(index, cut) for store in stores],
        [store.gather(*store.last_cuts()) for store in stores],
        [store.gather_ahead(torch.arange(len(store))) for store in stores],
    ):
        for field, expected, found in zip(batches[0]._fields, *batches, strict=True):
            assert found.dtype == expected.dtype, field
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True, msg=field)
    for one, expected in zip(disk.series, memory.series, strict=True):
        assert (one.item_id, one.start) == (expected.item_id, expected.start)
        for field in ("time", "target", "covariates", "static_real", "static_cat", "weight"):
            np.testing.assert_array_equal(getattr(one, field), getattr(expected, field))
    assert disk.series[-1].item_id == memory.series[-1].item_id


def test_pages_are_given_back(tmp_path, monkeypatch):
    df = frame("h", None, "float64")
    df.to_parquet(tmp_path / "rows.parquet", index=False)
    sampling, table = RegularSampling(Columns(), H).learn(DiskData(tmp_path / "rows.parquet"))
    entries = sampling.entries(table, StaticFeatures())
    store = read_store(by_content(entries), WindowSpec("h", 6, H, [1]), forecast=False)
    released = []
    monkeypatch.setattr(mapped_table.MappedFiles, "release", lambda self: released.append(self))
    for kept, gives_back in ((10**9, False), (2 * mapped_table.MAPPED_BYTES, True)):
        monkeypatch.setattr(mapped_table, "KEPT", kept)
        store.gather_ahead(torch.arange(2))
        assert bool(released) == gives_back
