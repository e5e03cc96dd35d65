"""Embedded data sets and folders of GluonTS load as documented, and errors name what is missing."""

import gzip
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from s5forecast.data import repository
from s5forecast.data.frequency import Frequency
from s5forecast.data.repository import list_datasets, load_dataset

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "gluonts"
NAMES = ["atlantic_storms", "nyc_departures_hourly", "nyc_flight_delays_q1", "nyc_weather_hourly"]
VARIABLES = {"nyc_flight_delays_q1": ["dep_delay"], "atlantic_storms": ["wind", "pressure", "lat", "long"]}
META_KEYS = {
    *(
        "name",
        "title",
        "description",
        "domain",
        "freq",
        "horizon",
        "season",
        "series",
        "observations",
        "time_zone",
    ),
    *("layout", "columns", "static_columns", "source", "licence", "sha256"),
}


def read_meta(name: str) -> dict:
    return json.loads((ROOT / "datasets" / name / "meta.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_meta_describes_the_frame(name):
    meta, frame = read_meta(name), load_dataset(name)
    assert set(meta) == META_KEYS
    assert meta["name"] == name
    assert list(meta["columns"]) == list(frame.columns)
    assert frame["item_id"].nunique() == meta["series"]
    values = frame.columns.difference(["item_id", "timestamp", *meta["static_columns"]])
    assert frame[values].notna().any(axis="columns").sum() == meta["observations"]
    content = (ROOT / "datasets" / name / "data.csv.gz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == meta["sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_embedded_frames_are_long_typed_and_ordered(name):
    meta, frame = read_meta(name), load_dataset(name)
    assert frame["timestamp"].dtype == "datetime64[ns]"
    for column in ["item_id", *meta["static_columns"]]:
        assert frame[column].map(type).eq(str).all()
    for column in VARIABLES.get(name, ["target"]):
        assert pd.api.types.is_numeric_dtype(frame[column])
    assert not frame.duplicated(["item_id", "timestamp"]).any()
    pd.testing.assert_frame_equal(frame, frame.sort_values(["item_id", "timestamp"], ignore_index=True))
    if meta["freq"] is None:
        assert list(frame.columns) == ["item_id", "timestamp", *VARIABLES[name]]
    else:
        assert frame["target"].dtype == "float64"
        for _, series in frame.groupby("item_id"):
            assert Frequency.infer(pd.DatetimeIndex(series["timestamp"])).alias == meta["freq"]


def test_departures():
    frame = load_dataset("nyc_departures_hourly")
    assert frame.shape == (20 * 8_760, 5)
    assert frame["target"].sum() == 304_527
    noon = frame[frame["timestamp"] == "2013-01-15 12:00"].set_index("item_id")
    assert noon.loc["EWR_UA", ["target", "origin", "carrier"]].tolist() == [6.0, "EWR", "UA"]
    assert set(frame["origin"]) == {"EWR", "JFK", "LGA"}
    assert (frame["origin"] + "_" + frame["carrier"] == frame["item_id"]).all()


def test_weather():
    frame = load_dataset("nyc_weather_hourly")
    assert frame.shape == (21 * 8_730, 5)
    assert frame["target"].isna().sum() == 3_262
    assert frame.loc[0, ["item_id", "target", "station", "variable"]].tolist() == [
        "EWR_dewp",
        26.06,
        "EWR",
        "dewp",
    ]
    assert frame["variable"].nunique() == 7
    assert "wind_speed" in set(frame["variable"])


def test_flight_delays():
    frame = load_dataset("nyc_flight_delays_q1")
    assert frame.shape == (33_354, 3)
    assert frame.loc[0].tolist() == ["EWR_AA", pd.Timestamp("2013-01-01 06:06"), -4.0]


def test_storms():
    frame = load_dataset("atlantic_storms")
    assert frame.shape == (19_513, 6)
    assert frame.iloc[-1].tolist() == ["Zeta_2020", pd.Timestamp("2020-10-30"), 45, 993, 39.5, -71.7]


def test_list_has_a_row_per_folder():
    listed = list_datasets().set_index("name")
    assert list(listed.index) == NAMES
    assert listed.loc["nyc_departures_hourly", ["freq", "series", "horizon", "season"]].tolist() == [
        "h",
        20,
        24,
        24,
    ]
    assert listed.loc["atlantic_storms", ["freq", "horizon", "season"]].isna().all()
    assert listed["licence"].str.contains("CC0|public domain").all()
    assert not (ROOT / "datasets" / "__init__.py").exists()  # it would shadow Hugging Face's package


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "datasets", tmp_path / "datasets")
    (tmp_path / "datasets" / "atlantic_storms" / "data.csv.gz").write_bytes(gzip.compress(b"item_id,timestamp\n"))
    monkeypatch.setattr(repository, "FOLDERS", (tmp_path / "none", tmp_path / "datasets"))
    with pytest.raises(ValueError, match=r"data\.csv\.gz is damaged or was changed: its sha256 is"):
        load_dataset("atlantic_storms")
    assert len(load_dataset("nyc_flight_delays_q1")) == 33_354


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown data set 'x'.*'atlantic_storms'.*'m4_hourly'"):
        load_dataset("x")
    with pytest.raises(ValueError, match=r"Unknown data set 'x', and not in .*'m4_hourly'.* path="):
        load_dataset("x", path=tmp_path)
    with pytest.raises(FileNotFoundError, match="Omit path= to load"):
        load_dataset("atlantic_storms", path=tmp_path)


def write_gluonts_folder(folder: Path, metadata: str = "metadata.json", parts: tuple[str, ...] = ("train", "test")):
    (folder / metadata).parent.mkdir(parents=True, exist_ok=True)
    (folder / metadata).write_text(json.dumps({"freq": "D", "prediction_length": 2}))
    for length, part in enumerate(parts, start=4):
        (folder / part).mkdir()
        entries = [{"item_id": item, "start": "2020-01-01", "target": list(range(length))} for item in "ab"]
        (folder / part / "data.json").write_text("\n".join(map(json.dumps, entries)))


@pytest.mark.parametrize("metadata", ["metadata.json", "metadata/metadata.json"])
@pytest.mark.parametrize("name", ["mine", "m4_hourly", "atlantic_storms"])
def test_gluonts_folders_load_under_any_name(tmp_path, name, metadata):
    write_gluonts_folder(tmp_path / name, metadata)
    data = load_dataset(name, path=str(tmp_path))
    assert (data.metadata.freq, data.metadata.prediction_length) == ("D", 2)
    assert [len(entry["target"]) for entry in data.train] == [4, 4]
    assert [len(entry["target"]) for entry in data.test] == [5, 5]
    assert next(iter(data.train))["start"] == pd.Period("2020-01-01", "D")


def test_gluonts_folders_need_no_test_part(tmp_path):
    write_gluonts_folder(tmp_path / "mine", parts=("train",))
    assert load_dataset("mine", path=tmp_path).test is None


def test_incomplete_gluonts_folders_say_what_is_missing(tmp_path):
    write_gluonts_folder(tmp_path / "mine", parts=())
    with pytest.raises(FileNotFoundError, match=r"mine has no train/, so it is not a complete"):
        load_dataset("mine", path=tmp_path)
    (tmp_path / "mine" / "metadata.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"mine has no metadata\.json, so it is not a complete"):
        load_dataset("mine", path=tmp_path)


def test_gluonts_names_are_made_by_gluonts_once(tmp_path, monkeypatch):
    data = load_dataset("constant", path=tmp_path)  # generated, not downloaded
    assert len(data.train) == 10
    monkeypatch.setattr("gluonts.dataset.repository.get_dataset", None)
    assert len(load_dataset("constant", path=tmp_path).train) == 10


def test_offline_errors_say_where_to_put_the_data(tmp_path, monkeypatch):
    def fail(name: str, path: Path) -> None:
        (path / name / "train").mkdir(parents=True)
        raise OSError("no network")

    monkeypatch.setattr("gluonts.dataset.repository.get_dataset", fail)
    for _ in range(2):  # nothing half-written is left behind
        with pytest.raises(FileNotFoundError, match=r"OSError: no network.*folder .* at .*m4_hourly.*path="):
            load_dataset("m4_hourly", path=tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "series"), [("m4_hourly", 414), ("pjm_hourly", 10), ("exchange_rate_nips", 8)])
def test_shared_gluonts_folders(name, series):
    if not SHARED.is_dir():
        pytest.skip(f"the benchmark data are not at {SHARED}")
    data = load_dataset(name, path=SHARED)
    assert len(data.train) == series
    assert len(data.test) % series == 0


def load_elsewhere(package_parent: Path, folder: Path) -> str:
    """Load a data set in a new interpreter, started in another folder, from a copy of the package."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from s5forecast.data import repository as r; "
        "print(r.__file__, r.load_dataset('nyc_flight_delays_q1').shape)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(package_parent)]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_data_inside_the_package_are_found(tmp_path):
    package = tmp_path / "site" / "s5forecast"
    shutil.copytree(ROOT / "s5forecast", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "datasets", package / "_datasets")
    assert load_elsewhere(package.parent, tmp_path) == f"{package / 'data' / 'repository.py'} (33354, 3)"


@pytest.mark.slow
def test_the_wheel_carries_the_data_and_the_pretrained_weights(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed, so no wheel can be built without a network")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", format="zip")
    package = tmp_path / "site" / "s5forecast"
    assert load_elsewhere(tmp_path / "site", tmp_path) == f"{package / 'data' / 'repository.py'} (33354, 3)"
    assert (package / "networks" / "pretrained.npz").exists()
