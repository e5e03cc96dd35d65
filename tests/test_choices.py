"""Lookup of named options."""

import pytest

from s5forecast.choices import choose


def test_choose():
    choices = {"one": 1, "two": 2}
    assert choose(choices, "two", "number") == 2
    assert choose(choices, 7, "number") == 7
    with pytest.raises(ValueError, match="unknown number 'three'; choose one of 'one', 'two'"):
        choose(choices, "three", "number")
