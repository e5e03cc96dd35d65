"""The synthetic prior: any series can be drawn, again and without infinite values."""

from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest

from s5forecast.pretraining import families, prior


@pytest.mark.parametrize("length", [64, 200])
def test_series_have_values_and_seasons(length):
    batch = prior.draw(300, length, np.random.default_rng(0))
    assert batch.values.shape == (300, length) and batch.seasons.shape == (300, 2)
    assert batch.values.dtype == batch.seasons.dtype == np.float32
    assert not np.isinf(batch.values).any() and (~np.isnan(batch.values)).any(axis=1).all()
    assert (batch.seasons >= 0).all() and not (batch.seasons == 1).any()


def test_series_depend_on_the_generator_only():
    first, second = (prior.draw(50, 96, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.seasons, second.seasons)
    assert not np.array_equal(first.values, prior.draw(50, 96, np.random.default_rng(4)).values)


@pytest.mark.parametrize("season", [(24.0, 168.0), (7.0, 365.25), (1.0, 0.0), (2.0, 4.0), (17.0, 0.0)])
@pytest.mark.parametrize("family", ["_structural", "_oscillators", "_calendar", "_counts", "_growth"])
def test_families_are_finite_for_any_season(family, season):
    series = np.empty(400)
    arguments = (season[0],) if family == "_growth" else season
    for _ in range(20):
        getattr(families, family)(series, *arguments)
        assert np.isfinite(series).all()


def test_profiles_are_standardized():
    profile = np.empty(24)
    for _ in range(20):
        families._profile(profile)
        assert abs(profile.mean()) < 1e-9 and profile.std() == pytest.approx(1)


def test_noise_has_unit_size():
    noise, sizes = np.empty(5_000), []
    for _ in range(60):
        families._noise(noise)
        sizes.append(noise.std())
    assert 0.8 < np.median(sizes) < 1.3


def test_counts_are_whole_numbers():
    series = np.empty(200)
    families._counts(series, 7.0, 0.0)
    assert (series >= 0).all() and (series == np.rint(series)).all()


def test_series_can_be_drawn_without_a_writable_cache(monkeypatch):
    from s5forecast.ops.cpu import rows

    njit = rows.numba.njit

    def refuse(*functions, **options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'f': no locator available")
        return njit(*functions, **options)

    spec = spec_from_file_location("families_again", families.__file__)
    again = module_from_spec(spec)
    with monkeypatch.context() as patched:
        patched.setattr(rows.numba, "njit", refuse)
        spec.loader.exec_module(again)
    profile = np.array([0.0, 1.0, 0.0, -1.0])
    assert again._at(profile, 1.0, 4.0) == families._at(profile, 1.0, 4.0)
