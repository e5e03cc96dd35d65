"""Synthetic series, each a random family and a random chain of transformations, compiled by Numba."""

from __future__ import annotations

import numpy as np

from s5forecast.ops.cpu.rows import cached

# Fraction of negated series.
NEGATED = 0.35


@cached
def fill_all(values: np.ndarray, seasons: np.ndarray, seeds: np.ndarray) -> None:
    """Fill ``values [N, T]`` by series with ``seasons [N, 2]``, each from a seed of its own."""
    for row in range(values.shape[0]):
        np.random.seed(seeds[row])
        _fill(values[row], seasons[row, 0], seasons[row, 1])


@cached
def _fill(out: np.ndarray, short: float, long: float) -> None:
    """One series: a family, at times the sum of two, then transformations."""
    length = out.shape[0]
    finer = 1
    if np.random.random() < 0.12:
        finer = np.random.randint(2, 5)
    x = np.empty(length * finer)
    whole = _family(x, short * finer, long * finer)
    if not whole and np.random.random() < 0.25:
        y = np.empty(length * finer)
        _family(y, short * finer, long * finer)
        _standardize(x)
        _standardize(y)
        x += np.exp(np.random.normal(-0.5, 0.8)) * y
    x = _coarsen(x, finer)
    if not whole:
        _transform(x)
    _degrade(x, short)
    for t in range(length):
        out[t] = x[t]


@cached
def _family(x: np.ndarray, short: float, long: float) -> bool:
    """Fill ``x`` by a random family; whether its values must not be transformed, such as counts."""
    kind = np.random.random()
    if kind < 0.40:
        _structural(x, short, long)
    elif kind < 0.51:
        _oscillators(x, short, long)
    elif kind < 0.59:
        _random_walk(x)
    elif kind < 0.64:
        _regimes(x)
    elif kind < 0.75:
        _calendar(x, short, long)
    elif kind < 0.84:
        _counts(x, short, long)
        return True
    elif kind < 0.90:
        _intermittent(x)
        return True
    else:
        _growth(x, short)
        return True
    return False


@cached
def _noise(x: np.ndarray) -> None:
    """Noise of unit size: white, at times with heavy tails, and at times partly autocorrelated over up to 300 steps."""
    freedom = 0.0 if np.random.random() < 0.7 else np.random.uniform(2.5, 8.0)
    smooth, memory = 0.0, 0.0
    if np.random.random() < 0.5:
        smooth, memory = np.random.random(), np.exp(-1.0 / np.exp(np.random.uniform(np.log(0.7), np.log(300.0))))
    white, smooth = np.sqrt(1.0 - smooth), np.sqrt(smooth)
    push = np.sqrt(1.0 - memory * memory)
    last = np.random.normal()
    for t in range(x.shape[0]):
        e = np.random.normal()
        if freedom > 0.0:
            e /= np.sqrt(np.random.chisquare(freedom) / freedom)
        last = memory * last + push * np.random.normal()
        x[t] = smooth * last + white * e


@cached
def _profile(p: np.ndarray) -> None:
    """One period of a season, of mean 0 and spread 1: harmonics, bumps, levels or free values."""
    n = p.shape[0]
    p[:] = 0.0
    kind = np.random.random()
    if kind < 0.45 or (kind > 0.88 and n > 60):
        decay = np.random.uniform(0.2, 2.0)
        top = min(max(n // 2, 1), 1 + int(_lognormal(0.8, 0.8)))
        for k in range(1, top + 1):
            size, phase = np.random.normal() / k**decay, np.random.uniform(0, 2 * np.pi)
            for i in range(n):
                p[i] += size * np.sin(2 * np.pi * k * i / n + phase)
    elif kind < 0.75:
        for _ in range(np.random.randint(1, 5)):
            center, width = np.random.uniform(0, n), max(0.6, n * np.exp(np.random.uniform(-4.0, -1.4)))
            size = np.random.normal()
            for i in range(n):
                gap = abs(i - center)
                gap = min(gap, n - gap)
                p[i] += size * np.exp(-0.5 * (gap / width) ** 2)
    elif kind < 0.88:
        for _ in range(np.random.randint(1, 4)):
            begin, stretch = np.random.randint(n), np.random.randint(1, max(2, n))
            size = np.random.normal()
            for i in range(stretch):
                p[(begin + i) % n] += size
    else:
        for i in range(n):
            p[i] = np.random.normal()
    if n > 1:
        _standardize(p)
    else:
        p[:] = 0.0


@cached
def _at(p: np.ndarray, t: float, period: float) -> float:
    """The profile at a step, interpolated where the period is no whole number."""
    place = (t % period) / period * p.shape[0]
    first = int(place)
    share = place - first
    return (1.0 - share) * p[first % p.shape[0]] + share * p[(first + 1) % p.shape[0]]


@cached
def _level(x: np.ndarray) -> None:
    """A random walk with a slope that is damped, moves or changes at random steps."""
    length = x.shape[0]
    walk = _lognormal(-3.0, 1.5) if np.random.random() < 0.8 else 0.0
    size = _lognormal(-0.5, 1.2) * 3.0 / length if np.random.random() < 0.55 else 0.0
    slope = size * np.random.normal()
    push = _lognormal(-6.0, 1.2) if np.random.random() < 0.2 else 0.0
    damping = (1.0, 1.0, 0.995, 0.95)[np.random.randint(4)]
    turn = 1.0 / _lognormal(4.5, 0.8) if np.random.random() < 0.35 else 0.0
    value = 0.0
    for t in range(length):
        if np.random.random() < turn:
            slope = size * np.random.normal()
        slope = damping * slope + push * np.random.normal()
        value += slope + walk * np.random.normal()
        x[t] = value


@cached
def _structural(x: np.ndarray, short: float, long: float) -> None:
    """Level, one or two seasons whose sizes and shapes may walk, and noise."""
    length = x.shape[0]
    _level(x)
    n = max(round(short), 1)
    first, second = np.empty(n), np.empty(n)
    _profile(first)
    _profile(second)
    size = _lognormal(0.0, 1.0) if np.random.random() < 0.85 else 0.0
    moves = _lognormal(-4.0, 1.0) if np.random.random() < 0.3 else 0.0
    turns = _lognormal(-4.5, 1.0) if np.random.random() < 0.3 else 0.0
    ratio = round(long / short) if short > 0 else 0
    weekly = 2 <= ratio <= 31 and short >= 3
    days = np.zeros(max(ratio, 1))
    shifts = np.zeros(max(ratio, 1))
    if weekly and np.random.random() < 0.6:
        _week(days, np.random.uniform(0.05, 0.8))
    if weekly and np.random.random() < 0.6:
        _week(shifts, _lognormal(-0.5, 0.8))
    other = np.zeros(max(ratio, 1))  # angle from the first to the second profile on each day
    if weekly and np.random.random() < 0.5:
        _rest(other, np.random.uniform(0.5, 2.0))
    yearly = np.zeros(64)
    if long > 0 and not weekly and np.random.random() < 0.75:
        _profile(yearly)
        yearly *= _lognormal(-0.2, 0.8)
    noise = np.empty(length)
    _noise(noise)
    noise *= _lognormal(-1.4, 1.4)
    uneven = np.random.random() < 0.25
    growth, angle = 0.0, 0.0
    drift = np.random.normal() * 0.02 if np.random.random() < 0.1 else 0.0
    for t in range(length):
        growth += moves * np.random.normal()
        angle += turns * np.random.normal()
        day = int(t // short) % ratio if weekly else 0
        turned = angle + other[day]
        s = np.cos(turned) * _at(first, t + drift * t / n, n) + np.sin(turned) * second[t % n]
        season = size * np.exp(growth) * s * (1.0 + days[day]) + shifts[day]
        if long > 0 and not weekly:
            season += _at(yearly, t, long)
        x[t] += season + noise[t] * (np.exp(0.5 * s) if uneven else 1.0)


@cached
def _week(days: np.ndarray, size: float) -> None:
    """Effects of the days of a week: weekends that differ from work days, and single days."""
    if np.random.random() < 0.6:
        _rest(days, np.random.normal() * size * 1.5)
    for i in range(days.shape[0]):
        days[i] += 0.3 * size * np.random.normal()


@cached
def _rest(days: np.ndarray, value: float) -> None:
    """Set one or two successive days."""
    begin, rest = np.random.randint(days.shape[0]), 1 + np.random.randint(2)
    for i in range(rest):
        days[(begin + i) % days.shape[0]] = value


@cached
def _oscillators(x: np.ndarray, short: float, long: float) -> None:
    """Damped oscillators driven by noise: a Gaussian process with quasi-periodic kernels."""
    x[:] = 0.0
    for _ in range(np.random.randint(1, 6)):
        chance = np.random.random()
        if chance < 0.45 and short > 2:
            period = short / np.random.randint(1, 4)
        elif chance < 0.6 and long > 2:
            period = long / np.random.randint(1, 8)
        else:
            period = np.exp(np.random.uniform(np.log(4.0), np.log(2.0 * x.shape[0])))
        period = max(period, 2.5)
        memory = np.exp(-1.0 / (period * _lognormal(1.0, 1.5)))
        cosine, sine = memory * np.cos(2 * np.pi / period), memory * np.sin(2 * np.pi / period)
        push = np.sqrt(1.0 - memory * memory)
        size = _lognormal(0.0, 0.8)
        a, b = np.random.normal(), np.random.normal()
        for t in range(x.shape[0]):
            a, b = cosine * a - sine * b + push * np.random.normal(), sine * a + cosine * b + push * np.random.normal()
            x[t] += size * a
    noise = np.empty(x.shape[0])
    _noise(noise)
    x += _lognormal(-2.0, 1.2) * noise


@cached
def _random_walk(x: np.ndarray) -> None:
    """A walk, at times one that returns to its mean, whose volatility moves."""
    memory = 1.0 if np.random.random() < 0.6 else np.exp(-1.0 / _lognormal(3.0, 1.2))
    lasting, push = np.random.uniform(0.8, 0.99), _lognormal(-1.5, 0.8) if np.random.random() < 0.6 else 0.0
    momentum = np.random.uniform(-0.2, 0.3) if np.random.random() < 0.4 else 0.0
    drift = np.random.normal() * 0.05 if np.random.random() < 0.4 else 0.0
    volatility, value, step = 0.0, 0.0, 0.0
    for t in range(x.shape[0]):
        volatility = lasting * volatility + push * np.random.normal()
        step = momentum * step + drift + np.exp(volatility) * np.random.normal()
        value = memory * value + step
        x[t] = value


@cached
def _regimes(x: np.ndarray) -> None:
    """A few regimes of different level, spread and memory, each of random duration."""
    count = np.random.randint(2, 5)
    stay = 1.0 - 1.0 / _lognormal(3.2, 0.9)
    level, spread, memory = np.empty(count), np.empty(count), np.empty(count)
    for i in range(count):
        level[i], spread[i], memory[i] = np.random.normal() * 2, _lognormal(-1.0, 0.8), np.random.uniform(0.0, 0.95)
    now, value = 0, 0.0
    for t in range(x.shape[0]):
        if np.random.random() > stay:
            now = np.random.randint(count)
        value = memory[now] * value + spread[now] * np.random.normal()
        x[t] = level[now] + value


@cached
def _calendar(x: np.ndarray, short: float, long: float) -> None:
    """Daily series with a week, a smooth year and holidays on fixed dates or weekdays; structural for other seasons."""
    if long < 200 or long > 400:
        _structural(x, short, long)
        return
    length, n = x.shape[0], max(round(short), 1)
    _level(x)
    x *= np.random.uniform(0.1, 0.6)
    week, year = np.zeros(n), np.empty(40)
    _week(week, _lognormal(0.0, 0.7))
    _profile(year)
    size = _lognormal(-0.6, 0.8)
    noise = np.empty(length)
    _noise(noise)
    noise *= _lognormal(-1.8, 0.8)
    holidays = np.zeros(366)
    floating = np.zeros(53)
    for _ in range(np.random.randint(0, 12)):
        day, effect, tail = np.random.randint(366), np.random.normal() * _lognormal(0.2, 0.6), np.random.random() < 0.4
        holidays[day] += effect
        if tail:
            holidays[(day + 1) % 366] += 0.5 * effect
            holidays[(day - 1) % 366] += 0.3 * effect
    for _ in range(np.random.randint(0, 6)):
        floating[np.random.randint(53)] += np.random.normal() * _lognormal(0.2, 0.6)
    weekday = np.random.randint(n)
    begin = np.random.randint(366)
    for t in range(length):
        date = (begin + t) % long
        x[t] += week[t % n] + size * _at(year, begin + t, long) + noise[t] + holidays[int(date * 365.25 / long) % 366]
        if t % n == weekday:
            x[t] += floating[int(date / n) % 53]


@cached
def _counts(x: np.ndarray, short: float, long: float) -> None:
    """Counts whose rate is the exponential of a structural series."""
    _structural(x, short, long)
    _standardize(x)
    size, mean = np.random.uniform(0.1, 1.0), np.exp(np.random.uniform(np.log(0.15), np.log(400.0)))
    dispersion = _lognormal(1.0, 1.0) if np.random.random() < 0.6 else 0.0
    for t in range(x.shape[0]):
        rate = min(mean * np.exp(size * x[t]), 1e6)
        if dispersion > 0.0:
            rate *= np.random.gamma(dispersion, 1.0 / dispersion)
        x[t] = np.random.poisson(rate) if rate < 1e4 else np.rint(rate + np.sqrt(rate) * np.random.normal())


@cached
def _intermittent(x: np.ndarray) -> None:
    """Intermittent demand of random size, at times one that starts or ends gradually."""
    length = x.shape[0]
    rate = np.exp(np.random.uniform(np.log(0.01), np.log(0.7)))
    mean, spread, whole = _lognormal(0.5, 1.2), np.random.uniform(0.0, 1.2), np.random.random() < 0.8
    change = _lognormal(-3.5, 1.2)
    middle, pace = np.random.uniform(-0.2, 1.2) * length, 0.0
    if np.random.random() < 0.4:
        pace = np.random.normal() * _lognormal(2.5, 0.8) / length
    trend = 0.0
    for t in range(length):
        trend += change * np.random.normal()
        x[t] = 0.0
        if np.random.random() < min(rate * np.exp(trend), 1.0) / (1.0 + np.exp(pace * (t - middle))):
            demand = mean * _lognormal(0.0, spread)
            x[t] = max(np.rint(demand), 1.0) if whole else demand


@cached
def _growth(x: np.ndarray, short: float) -> None:
    """Waves of logistic growth, as increments or cumulated, often as counts."""
    length = x.shape[0]
    rates = np.zeros(length)
    for _ in range(np.random.randint(1, 5)):
        middle, pace = np.random.uniform(-0.2, 1.3) * length, _lognormal(-1.5, 0.9) * 100.0 / length
        size = _lognormal(0.0, 1.2)
        skew = np.exp(np.random.normal() * 0.5)
        for t in range(length):
            z = pace * (t - middle) * (1.0 if t < middle else skew)
            rates[t] += size * pace / (4.0 * np.cosh(0.5 * min(max(z, -60.0), 60.0)) ** 2)
    n = max(round(short), 1)
    week = np.zeros(n)
    if np.random.random() < 0.5 and n > 1:
        _profile(week)
        week *= np.random.uniform(0.1, 0.6)
    total = np.exp(np.random.uniform(np.log(20.0), np.log(1e5)))
    rough, counted = _lognormal(-1.5, 0.8), np.random.random() < 0.7
    rates *= total / max(rates.sum(), 1e-9)
    cumulated = np.random.random() < 0.6
    value = 0.0 if np.random.random() < 0.7 else total * np.random.random()
    for t in range(length):
        rate = rates[t] * np.exp(week[t % n] + rough * np.random.normal())
        step = rate
        if counted:
            step = np.random.poisson(rate) if rate < 1e4 else np.rint(rate)
        value += step
        x[t] = value if cumulated else step


@cached
def _lognormal(mean: float, deviation: float) -> float:
    return np.exp(np.random.normal(mean, deviation))


@cached
def _standardize(x: np.ndarray) -> None:
    mean = x.mean()
    spread = max(x.std(), 1e-9)
    for t in range(x.shape[0]):
        x[t] = (x[t] - mean) / spread


@cached
def _coarsen(x: np.ndarray, finer: int) -> np.ndarray:
    """Average or thin a series of a finer step."""
    if finer == 1:
        return x
    length = x.shape[0] // finer
    y = np.empty(length)
    thin = np.random.random() < 0.4
    for t in range(length):
        y[t] = x[t * finer] if thin else x[t * finer : (t + 1) * finer].mean()
    return y


@cached
def _transform(x: np.ndarray) -> None:
    """Exponential, saturation, rectification, reversal and level."""
    _standardize(x)
    length = x.shape[0]
    kind = np.random.random()
    if kind < 0.32:
        strength = np.random.uniform(0.1, 1.0)
        for t in range(length):
            x[t] = np.exp(strength * min(max(x[t], -8.0), 8.0))
    elif kind < 0.36:
        high = np.random.uniform(0.3, 2.0)
        for t in range(length):
            x[t] = np.tanh(x[t] / high)
    elif kind < 0.42:
        low = np.random.uniform(-1.0, 0.8)
        for t in range(length):
            x[t] = max(x[t] - low, 0.0)
        return
    elif kind < 0.45:
        low, high = np.random.uniform(-2.0, -0.3), np.random.uniform(0.3, 2.0)
        for t in range(length):
            x[t] = min(max(x[t], low), high)
    if np.random.random() < 0.06:
        x[:] = x[::-1].copy()
    if np.random.random() < 0.8:
        offset = _lognormal(1.0, 1.2) - x.min() * (np.random.random() < 0.7)
        for t in range(length):
            x[t] += offset


@cached
def _degrade(x: np.ndarray, short: float) -> None:
    """Shifts, outliers, rounding, missing values, scale and sign, which forecasts of negated series need."""
    length = x.shape[0]
    spread = max(x.std(), 1e-9)
    if np.random.random() < 0.12:
        for _ in range(np.random.randint(1, 3)):
            at, shift = np.random.randint(length), np.random.normal() * spread * 1.5
            ends = length if np.random.random() < 0.6 else min(length, at + int(_lognormal(3.0, 1.0)))
            for t in range(at, ends):
                x[t] += shift
    if np.random.random() < 0.10:
        rate, size = np.random.uniform(0.001, 0.03), _lognormal(1.2, 0.6) * spread
        one_sided = np.random.random() < 0.5
        for t in range(length):
            if np.random.random() < rate:
                e = np.random.normal()
                x[t] += size * (abs(e) if one_sided else e)
    if np.random.random() < 0.15:
        step = spread * np.exp(np.random.uniform(np.log(0.01), np.log(0.6)))
        for t in range(length):
            x[t] = np.rint(x[t] / step) * step
    if np.random.random() < 0.10:
        rate = np.random.uniform(0.01, 0.4)
        blocks = np.random.random() < 0.5
        stretch = 1
        if blocks:
            stretch = 1 + int(_lognormal(1.5, 1.0))
        for t in range(length):
            if np.random.random() < rate / stretch:
                for i in range(t, min(length, t + stretch)):
                    x[i] = np.nan
    scale = np.exp(np.random.uniform(-3.0, 6.0))
    if np.random.random() < NEGATED:
        scale = -scale
    for t in range(length):
        x[t] *= scale
