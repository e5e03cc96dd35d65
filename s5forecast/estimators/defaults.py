"""Automatic choices of all estimators: every setting that is derived when it is not given.

Constructors resolve the choices that need no data, ``train_model`` the others. All are recorded with their reason in
``estimator.choices``, logged when training starts, and handed to the predictor, which saves them in ``choices.json``.
An ensemble or combination has the choices of its members, see :func:`merge_choices`.

=====================  =====================================================================  =========================
choice                 rule                                                                   source
=====================  =====================================================================  =========================
context_length         two horizons, two of the longest season, four of the dominant one;     rule: none; limits:
                       from 32 to 512 steps; ensembles: all, half and a quarter of it in turn  [1] did not help;
                                                                                              ensembles: [1] helped
lags_seq               1, two of each season, four of the longest; for days also three        years: [1] helped;
                       years, by date and by weekday                                          others: none
patch_length           the largest power of two up to 8 that leaves 40 patches in the         patches: [1] helped;
                       context; 1 if steps are skipped or the encoder is recursive            8 and 40: none
scaling                "increments" if continuing the last slope has less than 0.8 times the  increments: [1] helped;
                       error of the better naive forecast in up to 512 windows; "standard"    0.8: [1] defaults;
                       otherwise, if fewer than 50 windows are complete, and always for       512 and 50: none
                       causal encoders, as a stream keeps its scale
loss                   the quantile loss for quantiles, the negative log-likelihood           none
                       for other outputs
distr_output           "auto": the rules of ``distributions.choose_output``;                  auto: none; Student's t
                       autoregressive: quantiles, except Student's t for recursive encoders   and quantiles: [1] helped
                       unless a typical series has a quarter of equal values
synthetic_share        1 / (1 + n m / 20,000) for n steps in series of 40 m horizons, m at    [1] defaults and helped;
                       least 1; 0 for outputs with bounded support; for recursive encoders    0.2: [1] did not help
                       0 if it is less than 0.2
max_epochs             20; 60 for fewer than 10,000 steps beside synthetic windows, and       [1] helped, did not help
                       for n m above 10 million
sampling               "series": short series count as much as long ones                     [1] did not help
recursion              "decoder" if a day has several steps, "encoder" otherwise              [1] helped
dt_min, dt_max         the slowest state keeps 5 % after a context; the fastest is at least   [2] streaming; dt_max:
                       ten times as fast                                                      none
time_unit              the median gap between observations                                    none
cycles                 longer than two median gaps, seen twice over all series                none
members of ensembles   3                                                                      [1] helped
quantile_levels        the deciles; paths also 0.02, 0.05, 0.95 and 0.98; combinations 0.05    none
                       and 0.95
windows and weights    weights by the inverse squared losses of the last three horizons, if   3: [1]; others: none
of combinations        they are at most a third of the series; equal weights otherwise
=====================  =====================================================================  =========================

Sources: [1] benchmarks/forecasting/NOTES.md, "The defaults, and how they were chosen", with what helped and what did
not help on validation windows; [2] docs/how_to/streams.md, "Long streams"; "none": chosen without a recorded
measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import DAY
from s5forecast.data.spec import TypicalWindow, WindowSpec
from s5forecast.distributions import has_atoms
from s5forecast.estimators.arguments import check_positive
from s5forecast.levels import DECILES
from s5forecast.windows.batches import TrainingWindows, WindowStore
from s5forecast.windows.calendar import CYCLES
from s5forecast.windows.normalization import Normalization, typical_window

SHORTEST_CONTEXT, LONGEST_CONTEXT = 32, 512  # [1]: other limits did not help
# Steps of a year of days, by date and in whole weeks; [1].
YEARS = {"D": (365, 364), "B": (261, 260)}
LONGEST_PATCH, PATCHES = 8, 40  # not measured

# Relative error of continuing the last slope below which series are trending; [1].
TRENDING = 0.8
# Number of training windows that are examined, and minimum number of complete ones; not measured.
GROWTH_WINDOWS, ENOUGH_WINDOWS = 512, 50

# Effective sample size at which half of the windows are synthetic; [1].
STEPS_FOR_HALF_SYNTHETIC = 20_000
# Mean length of the series, in horizons, above which they count for more than their steps; [1].
REFERENCE_HORIZONS = 40
# Recursive encoders forecast better without synthetic windows than with a smaller share of them; [1].
LEAST_SHARE = 0.2

EPOCHS, MANY_EPOCHS = 20, 60  # [1]
# Steps of all series below which, and effective sample size above which, training takes many epochs; [1].
SHORT_RECORD, LONG_RECORD = 10_000, 10_000_000

# The slowest state starts with a real part of -1/2 and keeps exp(-6 / 2), 5 %, of its value after a context; [2].
FORGOTTEN = 6.0
FASTEST_STEP, FASTEST_TO_SLOWEST = 0.1, 10  # not measured

MEMBERS = 3  # [1]
# Fractions of the context that the members of an ensemble see, in turn; [1].
CONTEXT_SHARES = (1.0, 0.5, 0.25)
# Number of last horizons that weigh the members of a combination; [1].
WEIGHING_WINDOWS = 3
# Minimum length of a series that weighs the members, as a multiple of these horizons; not measured.
HISTORIES_PER_WINDOW = 3

PATH_TAILS = (0.02, 0.05, 0.95, 0.98)  # not measured
COMBINED_LEVELS = (0.05, *DECILES, 0.95)  # not measured

REASONS = {
    "context_length": "the longest of two horizons, two times the longest season and four times the main season, "
    "but at least 32 and at most 512 steps",
    "lags_seq": "one step, one and two times each season, up to four times the longest; for days up to three years",
    "patch_length": "the largest power of two up to 8 that leaves 40 patches in the context",
    "recursion": "decoder if the frequency is higher than daily, encoder otherwise",
    "timescales": "initially, the slowest state keeps 5 % of its value over a context",
    "cycles": "calendar cycles longer than two median gaps that the data cover at least twice",
    "loss": "quantile loss for quantiles, negative log-likelihood for other outputs",
    "quantile_levels": "the deciles",
    "time_unit": "median gap between observations",
    "synthetic_share": "fraction of training windows from synthetic series, smaller for more training data",
    "max_epochs": "chosen by the number and length of the series",
    "from_predictor": "as in from_predictor",
}


class Choice(NamedTuple):
    """The value of a setting, the reason for it, and whether the user gave it."""

    value: Any
    reason: str = "given"
    given: bool = True


class Choices(dict[str, Choice]):
    """Settings of an estimator that have an automatic default, by name."""

    def choose(self, name: str, value: Any, reason: str) -> Any:
        """Record and return an automatic value."""
        self[name] = Choice(value, reason, given=False)
        return value

    def resolve(self, name: str, given: Any, default: Any, reason: str | None = None) -> Any:
        """Record and return the given value, or the default if it is ``None``."""
        if given is None:
            return self.choose(name, default, REASONS[name] if reason is None else reason)
        self[name] = Choice(given)
        return given

    def mark_defaults(self, parameters: Mapping[str, Parameter]) -> None:
        """Record values that equal the default of their argument as not given."""
        for name, choice in self.items():
            if choice.given and name in parameters and choice.value == parameters[name].default:
                self[name] = Choice(choice.value, "default of the argument", given=False)

    def plain(self) -> dict[str, dict[str, Any]]:
        """As JSON data: ``{name: {"value": ..., "reason": ..., "given": ...}}``."""
        return {name: choice._asdict() for name, choice in self.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name}={choice.value!r} ({choice.reason})" for name, choice in self.items())


def merge_choices(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Choices of several predictors in one record.

    A choice that all predictors share has its own name. Others are named after the predictor, as in
    ``"members.0.context_length"``.
    """
    shared = {name: one for name, one in records[0].items() if all(other.get(name) == one for other in records)}
    others = {
        f"members.{number}.{name}": one
        for number, record in enumerate(records)
        for name, one in record.items()
        if name not in shared
    }
    return {**shared, **others}


def resolve_window(
    choices: Choices,
    freq: str,
    prediction_length: int,
    context_length: int | None,
    lags_seq: list[int] | None,
) -> WindowSpec:
    """The window of a regular series, with context and lags by frequency and horizon if they are not given.

    Raises:
        ValueError: for an unknown frequency, or a length or lag below 1.
    """
    frequency = Frequency.parse(freq)
    length = choices.resolve("context_length", context_length, default_context_length(frequency, prediction_length))
    lags = choices.resolve("lags_seq", lags_seq, default_lags(frequency))
    check_positive(prediction_length=prediction_length, context_length=length, lags_seq=min(lags, default=0))
    return WindowSpec(frequency.alias, length, prediction_length, lags)


def resolve_patches(
    choices: Choices, spec: WindowSpec, patch_length: int | None, single: str | None
) -> tuple[WindowSpec, int]:
    """The window with its context rounded up to whole patches, and the length of a patch.

    Args:
        choices: the record.
        spec: the window.
        patch_length: the argument; ``None`` for the default.
        single: why a patch must be a single step by default; ``None`` if it need not be.
    """
    default = default_patch_length(spec.context_length) if single is None else 1
    length = choices.resolve("patch_length", patch_length, default, single)
    check_positive(patch_length=length)
    rounded = spec.in_patches(length)
    choices["context_length"] = choices["context_length"]._replace(value=rounded.context_length)
    return rounded, length


def resolve_timescales(choices: Choices, context_length: int, given: dict[str, Any]) -> dict[str, float]:
    """The range of initial timescales of a continuous-time layer, unless the arguments ``given`` to it hold one."""
    return {
        name: choices.resolve(name, given.get(name), value, REASONS["timescales"])
        for name, value in timescales(context_length).items()
    }


def default_context_length(frequency: Frequency, prediction_length: int) -> int:
    """Two horizons, two of the longest and four of the dominant season, from 32 to 512 steps."""
    seasons = frequency.seasons or (1,)
    length = max(2 * prediction_length, 2 * seasons[-1], 4 * seasons[0], SHORTEST_CONTEXT)
    return min(length, LONGEST_CONTEXT)


def default_lags(frequency: Frequency) -> list[int]:
    """Lag 1, one and two of each season, up to four of the longest, and up to three years of days.

    Years of days are counted twice: to the same date, and to the same day of the week.
    """
    lags = {1} | {season * k for season in frequency.seasons for k in (1, 2)}
    lags |= {season * k for season in frequency.seasons[-1:] for k in (3, 4)}
    if frequency.alias in YEARS:
        lags |= {days * k for days in YEARS[frequency.alias] for k in (1, 2, 3)}
    return sorted(lags)


def default_patch_length(context_length: int) -> int:
    """The largest power of two up to 8 that leaves 40 patches in the context."""
    return min(LONGEST_PATCH, 2 ** (max(context_length // PATCHES, 1).bit_length() - 1))


def default_recursion(frequency: Frequency) -> str:
    """``"decoder"`` if a day has several steps, ``"encoder"`` otherwise."""
    return "decoder" if frequency.seconds < DAY else "encoder"


def timescales(context_length: int) -> dict[str, float]:
    """Initial timescales with which even the slowest state forgets nearly all within a context.

    A stream shows the network more observations than any training window. States that were still filling up at the end
    of a training window would reach values in a stream that the network was not trained on.
    """
    slowest = FORGOTTEN / context_length
    return {"dt_min": slowest, "dt_max": max(FASTEST_STEP, FASTEST_TO_SLOWEST * slowest)}


class HasTimestamps(Protocol):
    """A series with its times."""

    @property
    def timestamps(self) -> pd.Index: ...


def default_cycles(series: Sequence[HasTimestamps]) -> list[str]:
    """Calendar cycles that are longer than two median gaps and seen twice over all series; none for numeric times."""
    if series[0].timestamps.dtype.kind != "M":
        return []
    moments = [pd.DatetimeIndex(one.timestamps).as_unit("ns").asi8 / 1e9 for one in series]
    gaps = np.concatenate([np.diff(each) for each in moments])
    span = max(each[-1] for each in moments) - min(each[0] for each in moments)
    if not len(gaps):
        return []
    return [name for name, length in CYCLES.items() if 2 * np.median(gaps) < length <= span / 2]


def effective_sample_size(lengths: Tensor, prediction_length: int) -> float:
    """``n m``: the n steps of all series, times the factor m by which they are longer than 40 horizons on average.

    The factor is at least 1. Recurring patterns are learned sooner from one long series than from as many steps of
    short series.

    Args:
        lengths: steps of each series.
        prediction_length: steps of the horizon.
    """
    steps = lengths.double().sum().item()
    return steps * max(1.0, steps / len(lengths) / prediction_length / REFERENCE_HORIZONS)


def default_synthetic_share(lengths: Tensor, prediction_length: int) -> float:
    """Fraction of training windows drawn from synthetic series: ``1 / (1 + n m / 20,000)``."""
    return 1 / (1 + effective_sample_size(lengths, prediction_length) / STEPS_FOR_HALF_SYNTHETIC)


def choose_synthetic_share(
    given: float | None, lengths: Tensor, prediction_length: int, *, bounded: bool, least: float
) -> Choice:
    """The fraction of synthetic training windows.

    Args:
        given: the argument; ``None`` for the default.
        lengths: steps of each series.
        prediction_length: steps of the horizon.
        bounded: whether the output has bounded support, which synthetic series do not respect.
        least: a default below this share becomes 0.
    """
    if bounded:
        reason = "no training windows from synthetic series, because they do not respect the bounds of the output"
        return Choice(0.0, reason, given=False)
    if given is not None:
        return Choice(given)
    share = default_synthetic_share(lengths, prediction_length)
    if share < least:
        reason = f"no training windows from synthetic series, because their fraction would be less than {least}"
        return Choice(0.0, reason, given=False)
    return Choice(share, REASONS["synthetic_share"], given=False)


def default_epochs(lengths: Tensor, prediction_length: int, synthetic_share: float) -> int:
    """20; 60 for fewer than 10,000 steps beside synthetic windows, or an effective sample size above 10 million."""
    few = int(lengths.sum()) < SHORT_RECORD and synthetic_share > 0
    return MANY_EPOCHS if few or effective_sample_size(lengths, prediction_length) > LONG_RECORD else EPOCHS


def choose_recursive_output(targets: Sequence[np.ndarray]) -> Choice:
    """The output of a recursive encoder: quantiles if a typical series has a quarter of equal values, or Student's t.

    The likelihood of a continuous output is unbounded at a value that returns.
    """
    if has_atoms(targets):
        return Choice("quantile", "one value makes up a quarter or more of a typical series", given=False)
    return Choice("student_t", "no value makes up a quarter of a typical series", given=False)


def choose_scaling(store: WindowStore) -> Choice:
    """``"increments"`` for trending series, such as cumulative counts, otherwise ``"standard"``.

    One choice for all series, in which large series count for more.
    """
    error = relative_growth_error(store)
    reason = "too few complete training windows to detect a trend"
    if math.isfinite(error):
        reason = f"continuing the last slope has {error:.2f} times the error of the better naive forecast"
    return Choice("increments" if error < TRENDING else "standard", reason, given=False)


def relative_growth_error(store: WindowStore) -> float:
    """:func:`growth_error` of random training windows; infinite if they hold no season and one step."""
    spec = store.spec
    season = min(spec.frequency.season, spec.context_length - 1)
    if season < 1:
        return math.inf
    drawn = _examined_windows(store, GROWTH_WINDOWS)
    past_mask, target_mask = drawn.mask.split([spec.context_length, spec.prediction_length], dim=1)
    return growth_error(drawn.past, drawn.target, past_mask, target_mask, season)


def find_typical_window(store: WindowStore) -> TypicalWindow | None:
    """Typical location and scale of random training windows, for windows with too few observed values."""
    spec = store.spec
    drawn = _examined_windows(store, max(GROWTH_WINDOWS // spec.dim, 1))
    found = Normalization(drawn.loc, drawn.scale, drawn.level)
    return typical_window(drawn.past, drawn.mask[:, : spec.context_length].double(), found, spec)


def _examined_windows(store: WindowStore, count: int) -> Any:
    """Random training windows, the same for the same data."""
    generator = torch.Generator().manual_seed(0)
    return TrainingWindows(store, batch_size=1, num_batches=1, generator=generator).draw(count)


def growth_error(past: Tensor, target: Tensor, past_mask: Tensor, target_mask: Tensor, season: int) -> float:
    """Absolute error of continuing the slope of the last season, relative to the better of two naive forecasts.

    The naive forecasts repeat the last value and the last season. Errors are summed without normalization, so that
    large series count for more, as in the weighted quantile loss.

    Args:
        past: values of the context, ``[B, L]``.
        target: values of the horizon, ``[B, H]``.
        past_mask: whether the values of the context were observed, ``[B, L]``.
        target_mask: whether the values of the horizon were observed, ``[B, H]``.
        season: steps of a season, below L.

    Returns:
        Infinity if fewer than 50 windows are complete enough, or if a naive forecast has no error.
    """
    ahead = torch.arange(1, target.shape[1] + 1, dtype=past.dtype)
    before, last = past[:, -season - 1 : -season], past[:, -1:]
    # Steps at which all three forecasts can be made.
    both = past_mask[:, -1:] * past_mask[:, -season - 1 : -season]
    compared = target_mask * _last_season(past_mask, season, len(ahead)) * both
    if int(compared.any(1).sum()) < ENOUGH_WINDOWS:
        return math.inf
    forecasts = (last + ahead * (last - before) / season, last, _last_season(past, season, len(ahead)))
    growing, *naive = [((target - forecast).abs() * compared).sum().item() for forecast in forecasts]
    return growing / min(naive) if min(naive) > 0 else math.inf


def _last_season(past: Tensor, season: int, count: int) -> Tensor:
    """The last season, repeated, ``[B, count]``."""
    return past[:, -season:].repeat(1, -(-count // season))[:, :count]
