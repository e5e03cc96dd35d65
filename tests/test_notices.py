"""Warnings that point to the line of the user's code."""

import pickle
import warnings

from s5forecast.notices import SeriesWarning, warn_user


def test_a_warning_points_to_the_line_outside_the_package(monkeypatch):
    monkeypatch.setattr("s5forecast.notices.PACKAGE", "<package>")
    namespace = {"warn_user": warn_user}
    exec(compile("def inner():\n    warn_user('text')\n\ndef outer():\n    inner()", "<package>", "exec"), namespace)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        namespace["outer"]()
    (warning,) = caught
    assert warning.category is UserWarning and str(warning.message) == "text" and warning.filename == __file__


def test_a_warning_about_series_crosses_processes():
    copy = pickle.loads(pickle.dumps(SeriesWarning("text", ["series 'a'"])))
    assert (type(copy), str(copy), copy.series) == (SeriesWarning, "text", ("series 'a'",))
