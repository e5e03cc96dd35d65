"""The code of the guide to many machines runs, and gives the forecasts of one machine."""

import os
import shutil
import sys

import pytest
from pages import sections
from test_forecaster_partition import close

PAGE = "how_to/many_machines.md"


def run(title):
    """Run the section of a library after that of the unit of work; returns its forecasts and the expected ones."""
    names, code = {"__name__": "page"}, sections(PAGE)
    exec(compile(code["The unit of work"], PAGE, "exec", dont_inherit=True), names)
    expected = names["forecasts"]
    exec(compile(code[title], PAGE, "exec", dont_inherit=True), names)
    return names, expected


def same(found, expected):
    keys = ["item_id", "timestamp"]
    close(*(frame.sort_values(keys, ignore_index=True).astype(expected.dtypes) for frame in (found, expected)))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_polars():
    pytest.importorskip("polars", reason="Polars is not installed: pip install -c constraints.txt '.[polars]'")
    names, expected = run("Polars")
    same(names["forecasts"].to_pandas(), expected)


@pytest.mark.slow
def test_dask(monkeypatch):
    pytest.importorskip(
        "dask.dataframe", reason="Dask is not installed: pip install -c constraints.txt 'dask[dataframe]'"
    )
    names, expected = run("Dask")
    same(names["forecasts"], expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark.*", "ignore::FutureWarning:pyspark.*")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the sockets that Spark leaves open
def test_spark(monkeypatch):
    pytest.importorskip("pyspark", reason="Spark is not installed: pip install -c constraints.txt pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark requires Java")
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # of the workers
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        names, expected = run("Spark")
        same(names["forecasts"].toPandas(), expected)
    finally:
        session.stop()
