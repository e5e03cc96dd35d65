"""Known covariates that are missing at steps to forecast are reported by one warning."""

import warnings

import pytest

from s5forecast.data.missing_known import MissingKnown, collecting, in_step, report, reported_once

PRICE = MissingKnown(["price"], ["series 'a'", "series 'b'"], "at step 2")


def parts(*missing):
    """A generator of forecasts that reports what is missing with its last one."""
    yield 1
    report(missing)
    yield 2


def texts(caught):
    return [str(one.message) for one in caught]


def test_a_block_merges_what_is_missing():
    others = [MissingKnown(["event"], ["series 'b'", "series 'c'"], "at step 1"), PRICE]
    with pytest.warns(UserWarning) as caught, reported_once():
        report([PRICE])
        report(others)
    (text,) = texts(caught)
    assert text.startswith("series 'a' and 2 other series: the known covariates ['price', 'event'] are missing")
    assert "starting at step 2;" in text
    assert caught[0].filename == __file__


def test_an_outer_block_takes_what_an_inner_one_found():
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with collecting(found), reported_once():
            report([PRICE])
            report([PRICE])
        report([])
    assert found == [PRICE]


def test_parts_in_step_report_once():
    with pytest.warns(UserWarning, match="series 'a' and 1 other series") as caught:
        rows = list(in_step([parts(PRICE), parts(PRICE), iter("xy")]))
    assert rows == [(1, 1, "x"), (2, 2, "y")] and len(caught) == 1
    assert list(in_step([parts(), parts()])) == [(1, 1), (2, 2)]
    with pytest.raises(ValueError, match="shorter"):
        list(in_step([parts(), iter("x")]))


def test_steps_of_entries():
    missing = MissingKnown.of_steps({"series 0": {"real": 3, "cat": 2}, "series 1": {"cat": 1}})
    assert missing == (["real", "cat"], ["series 0", "series 1"], "at step 2")
