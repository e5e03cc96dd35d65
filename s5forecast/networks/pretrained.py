"""Network that is pretrained on synthetic series: a causal S5 encoder of patches and a decoder of future patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from gluonts.core.component import validated
from torch import Tensor, nn

from s5forecast.nn import Encoder

PATCH = 8
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
MEDIAN = LEVELS.index(0.5)
# Steps of the recent mean of a series without a season, and the least number of steps.
RECENT, LEAST_RECENT = 8, 4
SHORT_LAGS, LONG_LAGS = 4, 2
# Recent errors are means over so many times the steps of the recent mean.
RECENT_ERRORS = 2
STEP_FEATURES, PATCH_FEATURES = 5, 16
CANDIDATES = 12
LAG_FEATURES = SHORT_LAGS + 2 * LONG_LAGS + 2
LINEAR_UNTIL = 5.0
# With fewer observed values before an origin, its units are arbitrary: such origins were 21 % of the loss.
FEWEST_OBSERVED = 4
LARGEST = 8.0


class Past(NamedTuple):
    """B series of T steps and, for each step, statistics of the values up to it."""

    values: Tensor  # [B, T] float32, standardized over the whole series, 0 where missing
    mask: Tensor  # [B, T] bool
    offset: Tensor  # [B, 1] the value zero in these units
    loc: Tensor  # [B, T] mean of the recent values
    scale: Tensor  # [B, T] mean error of the better of two naive forecasts so far
    features: Tensor  # [B, T, PATCH_FEATURES]
    seasons: Tensor  # [B, 2] float32, 0 for none
    begin: Tensor  # [B, 1] first observed step


class Origins(NamedTuple):
    """N pairs of a forecast origin and a future patch."""

    series: Tensor  # [N]
    origin: Tensor  # [N] steps before the origin, a multiple of the patch
    ahead: Tensor  # [N] number of the future patch, from 0 on


class PretrainedNetwork(nn.Module):
    r"""Quantiles of future patches of eight steps, from one causal pass over the past.

    Each patch is encoded by its values, centered and scaled by the past up to it, and their differences to the step
    and the seasons before. After any patch, the decoder returns a convex combination of twelve simple forecasts and
    quantiles around it:

    .. math:: q_\tau = \sum_i w_i f_i + s \, \sinh(r_\tau)

    The frequency enters only through values at lags of its seasons, so that one network serves all.

    Args:
        width, num_layers, state_size: size of the S5 encoder.
        hidden: width of the decoder.
    """

    @validated()
    def __init__(self, width: int = 128, num_layers: int = 4, state_size: int = 128, hidden: int = 192) -> None:
        super().__init__()
        self.input = nn.Linear(PATCH * STEP_FEATURES + PATCH_FEATURES, width)
        self.encoder = Encoder(
            width, num_layers, layer_kwargs={"state_size": state_size, "dt_min": 0.01, "dt_max": 1.0, "clip_eigs": True}
        )
        self.decoder_input = nn.Linear(width + PATCH * (2 * LAG_FEATURES + CANDIDATES) + PATCH_FEATURES + 3, hidden)
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(hidden)
        self.output = nn.Linear(hidden, PATCH * (CANDIDATES + len(LEVELS)))
        with torch.no_grad():
            self.output.weight.mul_(0.1)

    def check_streams(self) -> None:
        """Accept streams: the state of a series consists of its last values."""

    def encode(self, past: Past) -> Tensor:
        """Features of each patch, ``[B, T / PATCH, width]``; those before the first observed value have no effect."""
        begun = torch.arange(PATCH - 1, past.values.shape[1], PATCH) >= past.begin
        return self.encoder(self.input(_patch_features(past)), mask=begun.float())[0]

    def decode(self, past: Past, encoded: Tensor, at: Origins) -> tuple[Tensor, Tensor]:
        """Quantiles ``[N, PATCH, Q]`` and their base ``[N, PATCH]`` in units of the origin, ``(y - loc) / scale``."""
        last = at.origin - 1
        loc, scale = (x[at.series, last].unsqueeze(-1) for x in (past.loc, past.scale))
        lags, mask, candidates, known = _lagged(past, at, loc, scale)
        seasons = past.seasons[at.series]
        ahead = (at.ahead * PATCH).unsqueeze(-1) / seasons.clamp(min=1.0)
        where = torch.cat([torch.log1p(at.ahead.unsqueeze(-1).float()), torch.log1p(ahead)], dim=-1)
        h = torch.cat(
            [
                encoded[at.series, at.origin // PATCH - 1],
                torch.asinh(lags).flatten(1),
                mask.flatten(1),
                torch.asinh(candidates).flatten(1),
                past.features[at.series, last],
                where,
            ],
            dim=-1,
        )
        h = self.decoder_input(h)
        for mixer in self.mixers:
            h = h + mixer(h)
        raw = self.output(self.norm(h)).unflatten(-1, (PATCH, -1))
        logits, offsets = raw.split([CANDIDATES, len(LEVELS)], dim=-1)
        weights = torch.softmax(logits.masked_fill(~known, -1e9), dim=-1)
        base = (weights * candidates).sum(-1)
        return base.unsqueeze(-1) + _ascending(offsets), base

    def loss(self, values: Tensor, seasons: Tensor, at: Origins) -> Tensor:
        """Mean quantile loss of the future patches, in units of each origin, if these units are known."""
        past = describe(values, seasons)
        quantiles, base = self.decode(past, self.encode(past), at)
        last = at.origin - 1
        step = (at.origin + at.ahead * PATCH).unsqueeze(-1) + torch.arange(PATCH)
        series = at.series.unsqueeze(-1)
        observed = past.mask.cumsum(1)[at.series, last].unsqueeze(-1)
        target, mask = past.values[series, step], past.mask[series, step] & (observed >= FEWEST_OBSERVED)
        loc, scale = (x[at.series, last].unsqueeze(-1) for x in (past.loc, past.scale))
        center = base.detach()
        actual = bent((target - loc) / scale - center)
        error = actual.unsqueeze(-1) - bent(quantiles - center.unsqueeze(-1))
        levels = torch.tensor(LEVELS)
        loss = torch.maximum(levels * error, (levels - 1) * error).mean(-1) * 2
        return (loss * mask).sum() / mask.sum().clamp(min=1)

    @torch.no_grad()
    def forecast(self, values: Tensor, seasons: Tensor, steps: int) -> Tensor:
        """Quantiles ``[B, steps, Q]`` after ``values [B, T]`` float64 with NaN, T a multiple of the patch."""
        mean, spread = _location(values)
        past = describe(values, seasons)
        encoded = self.encode(past)
        count = -(-steps // PATCH)
        B, T = values.shape
        at = Origins(
            torch.arange(B).repeat_interleave(count), torch.full((B * count,), T), torch.arange(count).repeat(B)
        )
        quantiles = self.decode(past, encoded, at)[0].unflatten(0, (B, count)).flatten(1, 2)[:, :steps]
        loc, scale = past.loc[:, -1, None, None].double(), past.scale[:, -1, None, None].double()
        return mean.unsqueeze(-1) + spread.unsqueeze(-1) * (loc + scale * quantiles.double())


def bent(x: Tensor) -> Tensor:
    """``x`` up to five units, its logarithm beyond."""
    return torch.where(x.abs() <= LINEAR_UNTIL, x, x.sign() * (LINEAR_UNTIL + torch.asinh(x.abs() - LINEAR_UNTIL)))


def _ascending(raw: Tensor) -> Tensor:
    """Offsets that increase along the last dimension: that of the median, and positive distances on both sides."""
    raw = raw.clamp(-LARGEST, LARGEST)
    median = torch.sinh(raw[..., MEDIAN : MEDIAN + 1])
    gaps = torch.sinh(F.softplus(raw - 1.5))
    below = gaps[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
    above = gaps[..., MEDIAN + 1 :].cumsum(-1)
    return torch.cat([median - below, median, median + above], dim=-1)


def _location(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of the observed values, ``[B, 1]`` float64."""
    values = values.double()
    count = (~values.isnan()).sum(1, keepdim=True).clamp(min=1)
    mean = values.nansum(1, keepdim=True) / count
    spread = (((values - mean) ** 2).nansum(1, keepdim=True) / count).sqrt()
    floor = 1e-6 * mean.abs()
    return mean, torch.where(spread > floor, spread, torch.where(mean != 0, mean.abs() * 1e-2, 1.0))


def describe(values: Tensor, seasons: Tensor) -> Past:
    """Causal statistics of ``values [B, T]``, NaN where missing, and their ``seasons [B, 2]``."""
    mean, spread = _location(values)
    x = ((values.double() - mean) / spread).float()
    mask = ~x.isnan()
    x = x.nan_to_num(0.0)
    B, T = x.shape
    steps = torch.arange(T).expand(B, T)
    short = seasons[:, :1].round().long()
    recent = torch.where(short > 0, short.clamp(min=LEAST_RECENT), RECENT)
    loc, known = _window_mean(x, mask, recent)
    begin = mask.int().argmax(1, keepdim=True)
    errors = _errors(x, mask, seasons, loc, known, recent, steps - begin)
    observed = mask.cumsum(1).clamp(min=1).float()
    best = torch.fmin(errors["level"], errors["season"])
    zero = (mean / spread).float()
    size = ((x + zero).abs() * mask).cumsum(1) / observed
    scale = torch.where(best > 0, best, 0.0)
    scale = torch.maximum(scale, 1e-3 * size).clamp(min=1e-4)
    zeros = (((x + zero).abs() < 1e-6) & mask).cumsum(1) / observed
    past_loc, had_loc = _at(loc, known, steps - PATCH)
    deviation = errors.pop("square").nan_to_num(0.0).sqrt()
    stats = [
        *((error / scale).log().clamp(-5, 3).nan_to_num(0.0) for error in errors.values()),
        torch.log1p(deviation / scale).clamp(max=6),
        zeros,
        torch.asinh((loc - past_loc) / scale) * had_loc,
        observed.log() / 4,
        torch.log1p(seasons[:, :1]).expand(B, T) / 4,
        torch.log1p(seasons[:, 1:]).expand(B, T) / 4,
        torch.asinh((loc + zero) / scale) / 4,
        known.float(),
    ]
    return Past(x, mask, -zero, loc, scale, torch.stack(stats, dim=-1), seasons, begin)


def _errors(
    x: Tensor, mask: Tensor, seasons: Tensor, loc: Tensor, known: Tensor, recent: Tensor, age: Tensor
) -> dict[str, Tensor]:
    """Mean absolute errors so far ``[B, T]`` of simple forecasts of one step, NaN before the first one."""
    steps = torch.arange(x.shape[1]).expand(x.shape)
    short, aligned = seasons[:, :1].round().long(), _aligned(seasons[:, :1], seasons[:, 1:]).round().long()
    before, known_before = _at(loc, known, steps - 1)
    earlier, there = _at(x, mask, steps - short)
    level_before, _ = _at(loc, known, steps - 1 - short)
    long_ago, there_long = _at(x, mask, steps - aligned)
    turns = [_at(x, mask, steps - k * short) for k in range(1, SHORT_LAGS + 1)]
    count = torch.stack([one for _, one in turns]).sum(0)
    mean = torch.stack([value * one for value, one in turns]).sum(0) / count.clamp(min=1)
    previous, there_previous = _at(x, mask, steps - 1)
    seasonal = mask & there & (short > 0)
    level, season = (x - before).abs(), (x - earlier).abs()
    window = RECENT_ERRORS * recent
    return {
        "season": _running(season, seasonal),
        "level": _running(level, mask & known_before),
        "step": _running((x - previous).abs(), mask & there_previous),
        "long": _running((x - long_ago).abs(), mask & there_long & (aligned > 0)),
        "moved": _running((x - earlier - before + level_before).abs(), seasonal & (age > 2 * short)),
        "mean": _running((x - mean).abs(), mask & (count > 0) & (short > 0)),
        "recent_season": _window_mean(season * seasonal, seasonal, window)[0],
        "recent_level": _window_mean(level * mask * known_before, mask & known_before, window)[0],
        "square": _running(level.square(), mask & known_before),
    }


def _aligned(short: Tensor, long: Tensor) -> Tensor:
    """The whole number of short seasons next to the long season; the long season without a short one."""
    return torch.where(short > 0, (long / short.clamp(min=1)).round() * short, long)


def _window_mean(x: Tensor, mask: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the observed values in the last ``window [B, 1]`` steps, or of all so far if none is observed."""
    total, count = F.pad(x.double().cumsum(1), (1, 0)), F.pad(mask.cumsum(1), (1, 0))
    begin = (torch.arange(1, x.shape[1] + 1) - window).clamp(min=0)
    within = count[:, 1:] - count.gather(1, begin)
    sums = total[:, 1:] - total.gather(1, begin)
    so_far = total[:, 1:] / count[:, 1:].clamp(min=1)
    return torch.where(within > 0, sums / within.clamp(min=1), so_far).float(), count[:, 1:] > 0


def _running(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of the known errors so far; NaN before the first one."""
    count = mask.cumsum(1)
    return torch.where(count > 0, (error * mask).double().cumsum(1) / count.clamp(min=1), torch.nan).float()


def _at(x: Tensor, mask: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Values ``[B, ...]`` at the steps ``index``, and whether they are observed."""
    safe = index.clamp(0, x.shape[1] - 1).flatten(1)
    there = (index >= 0) & (index < x.shape[1])
    return (x.gather(1, safe).view_as(index)), mask.gather(1, safe).view_as(index) & there


def _patch_features(past: Past) -> Tensor:
    """``[B, T / PATCH, PATCH * STEP_FEATURES + PATCH_FEATURES]``, each patch in the units of its last step."""
    x, mask = past.values, past.mask
    B, T = x.shape
    steps = torch.arange(T).expand(B, T)
    loc, scale = (y[:, PATCH - 1 :: PATCH].repeat_interleave(PATCH, dim=1) for y in (past.loc, past.scale))
    features = [torch.asinh((x - loc) / scale) * mask, mask.float()]
    for lag in (torch.ones_like(past.seasons[:, :1]), past.seasons[:, :1], past.seasons[:, 1:]):
        lag = lag.round().long()
        earlier, there = _at(x, mask, steps - lag)
        features.append(torch.asinh((x - earlier) / scale) * (mask & there & (lag > 0)))
    own = torch.stack(features, dim=-1).unflatten(1, (-1, PATCH)).flatten(2)
    return torch.cat([own, past.features[:, PATCH - 1 :: PATCH]], dim=-1)


def _lagged(past: Past, at: Origins, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values at lags and simple forecasts of each step, in the units of the origin.

    Returns:
        lags and their mask, float ``[N, PATCH, LAG_FEATURES]``; simple forecasts ``[N, PATCH, CANDIDATES]`` and
        whether they are known.
    """
    series = at.series.unsqueeze(-1)
    origin = at.origin.unsqueeze(-1)
    begin = past.begin[at.series]
    age = origin - begin
    ahead = at.ahead.unsqueeze(-1) * PATCH + torch.arange(1, PATCH + 1)  # [N, PATCH] from 1 on
    short, long = past.seasons[at.series].unsqueeze(1).unbind(-1)  # [N, 1]
    step = origin - 1 + ahead
    aligned = _aligned(short, long)

    def back(season: Tensor, extra: int) -> Tensor:
        """The latest step a whole number of seasons earlier with a known value, and ``extra`` seasons before it."""
        turns = torch.ceil(ahead / season.clamp(min=1)) + extra
        return (step - (turns * season).round().long()).long()

    def take(index: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        known = there & (index >= 0) & (index < origin)
        safe = index.clamp(min=0, max=past.values.shape[1] - 1)
        known = known & past.mask[series, safe]
        return (past.values[series, safe] - loc) / scale * known, known

    has_short, has_long = short > 0, long > 0
    shorts = [take(back(short, k), has_short) for k in range(SHORT_LAGS)]
    longs = [take(back(long, k), has_long) for k in range(LONG_LAGS)]
    whole = [take(back(aligned, k), has_long) for k in range(LONG_LAGS)]
    unusual = [_unusual(take, back(season, 0), short, has_long, value)
               for season, value in ((long, longs[0]), (aligned, whole[0]))]  # fmt: skip
    pairs = [*shorts, *longs, *whole, *unusual]
    lags, mask = (torch.stack(x, dim=-1) for x in zip(*pairs, strict=True))

    def level(index: Tensor) -> Tensor:
        """Recent mean up to a step, or up to the first observed one, in units of the origin."""
        return (past.loc[series, torch.maximum(index, begin)] - loc) / scale

    zero = (past.offset[at.series] - loc) / scale  # [N, 1] the value zero
    s = short.round().long()
    last = take((origin - 1).expand_as(step), torch.ones_like(has_short))
    season_ago = level(origin - 1 - s)
    long_ago = level(back(aligned, 0) - ahead)
    turns = torch.ceil(ahead / short.clamp(min=1))
    first, known = shorts[0]
    sums = torch.stack([value for value, _ in shorts]).sum(0)
    counts = torch.stack([there for _, there in shorts]).sum(0)
    recent = torch.where(s > 0, s.clamp(min=LEAST_RECENT), RECENT)
    slope = -level(origin - 1 - recent) / recent
    enough = age > 2 * recent
    candidates = [
        (torch.zeros_like(first), torch.ones_like(known)),
        last,
        shorts[0],
        shorts[1],
        (sums / counts.clamp(min=1), counts > 0),
        (first - turns * season_ago, known & (age > 2 * s)),
        longs[0],
        whole[0],
        (whole[0][0] - long_ago, whole[0][1]),
        (zero + (first - zero) * _ratio(-zero, season_ago - zero), known & (age > 2 * s)),
        (zero + (whole[0][0] - zero) * _ratio(-zero, long_ago - zero), whole[0][1]),
        (last[0] + slope * ahead, last[1] & enough),
    ]
    values, there = (torch.stack([x.expand_as(step) for x in y], dim=-1) for y in zip(*candidates, strict=True))
    return lags, mask.float(), values * there, there


def _unusual(
    take: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    index: Tensor,
    short: Tensor,
    there: Tensor,
    value: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Difference of a value a long season ago to the mean of its neighbors one short season away, such as a holiday."""
    lag = short.round().long()
    before, after = take(index - lag, there & (lag > 0)), take(index + lag, there & (lag > 0))
    known = value[1] & before[1] & after[1]
    return (value[0] - (before[0] + after[0]) / 2) * known, known


def _ratio(now: Tensor, then: Tensor) -> Tensor:
    """``now / then`` of two levels of one sign, clipped to a factor of 3; 1 if their signs differ."""
    same = (now * then) > 0
    return torch.where(same, now / torch.where(same, then, 1.0), 1.0).clamp(1 / 3, 3.0)
