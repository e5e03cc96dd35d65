"""Images of a pendulum at irregular times: the simulation, the drawing and the noise of the published task.

The protocol is that of "Recurrent Kalman Networks" (Becker et al., 2019) with the sampling of "Modeling Irregular Time
Series with Continuous Recurrent Units" (Schirmer et al., 2022), which "Simplified State Space Layers for Sequence
Modeling" (Smith, Warrington, Linderman, 2023) follows; random numbers are drawn here in another order. Lines are drawn
and images resized by this file's own functions, after what Pillow does: end points on whole pixels, a window of Lanczos
as wide as the reduction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

STEPS, OBSERVED, CLEAR = 100, 50, 5
INTERVAL, SUBSTEP = 0.01, 1e-4
GRAVITY, LENGTH, MASS, FRICTION = 9.81, 1.0, 1.0, 0.1
VELOCITY_NOISE, OBSERVATION_NOISE = 0.1, 1e-5
CANVAS, SIZE, CENTER, ROD, WIDTH = 128, 24, 64, 55, 8
SETS = {"train": 2000, "validation": 1000, "test": 1000}


class Sequences(NamedTuple):
    """Observed ``images [N, 50, 24, 24]`` uint8, their ``times [N, 50]`` int64, ``targets [N, 50, 2]`` float32."""

    images: np.ndarray
    times: np.ndarray
    targets: np.ndarray


def pendulum_sets(sizes: dict[str, int] = SETS) -> dict[str, Sequences]:
    """The sets by name, always the same; the seeds of a run apply to the model only."""
    return {name: sequences(count, np.random.default_rng([0, k])) for k, (name, count) in enumerate(sizes.items())}


def sequences(count: int, rng: np.random.Generator) -> Sequences:
    """Simulate, draw, disturb and choose the times of ``count`` sequences."""
    angles, _ = simulate(count, rng)
    chosen = np.sort(rng.random((count, STEPS)).argsort(axis=1)[:, :OBSERVED], axis=1)
    clarity = np.take_along_axis(image_clarity(count, rng), chosen, axis=1)
    angles = np.take_along_axis(angles, chosen, axis=1)
    targets = np.stack([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)
    images = draw(angles + rng.normal(0, OBSERVATION_NOISE, angles.shape))
    return Sequences(_disturb(images, clarity, rng), chosen, targets)


def simulate(
    count: int, rng: np.random.Generator, *, friction: float = FRICTION, noise: float = VELOCITY_NOISE
) -> tuple[np.ndarray, np.ndarray]:
    r"""Angles ``theta - pi``, which are 0 in the stable equilibrium, and velocities ``omega``, ``[count, 100]`` each.

    .. math:: \omega' = (g l m / I) \sin\theta - \mu \omega, \qquad \theta' = \omega, \qquad I = m l^2 / 3

    by semi-implicit Euler steps of 1e-4 s, from rest at a uniform angle. After each interval of 0.01 s normal ``noise``
    is added to the velocity.
    """
    pull = GRAVITY * LENGTH * MASS / (MASS * LENGTH**2 / 3)
    angle, velocity = rng.uniform(0, 2 * np.pi, count), np.zeros(count)
    states = np.empty((2, STEPS, count))
    states[:, 0] = angle, velocity
    for step in range(1, STEPS):
        for _ in range(round(INTERVAL / SUBSTEP)):
            velocity += SUBSTEP * (pull * np.sin(angle) - friction * velocity)
            angle += SUBSTEP * velocity
        velocity += rng.normal(0, noise, count)
        angle %= 2 * np.pi
        states[:, step] = angle, velocity
    angles, velocities = states.transpose(0, 2, 1)
    return angles - np.pi, velocities


def energy(angles: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    r"""``I \omega^2 / 2 - m g l cos(angle)``, for angles as :func:`simulate` returns them."""
    return MASS * LENGTH**2 / 3 * velocities**2 / 2 - MASS * GRAVITY * LENGTH * np.cos(angles)


def draw(angles: np.ndarray) -> np.ndarray:
    """Images ``[..., 24, 24]`` uint8 of rods at ``angles [...]``.

    As the end of a rod is on a whole pixel, there are a few hundred different images, each drawn once.
    """
    ends = CENTER + ROD * np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    pixels, which = np.unique(ends.astype(int).reshape(-1, 2), axis=0, return_inverse=True)
    resize = lanczos(CANVAS, SIZE)
    small = np.stack([resize @ rod(x, y) @ resize.T for x, y in pixels])
    return (small.clip(0, 1) * 255).astype(np.uint8)[which.reshape(angles.shape)]


def rod(x: int, y: int) -> np.ndarray:
    """Canvas ``[128, 128]``, rows y: 1 if the center of a pixel is within half a width of the line to ``(x, y)``."""
    rows, columns = np.mgrid[:CANVAS, :CANVAS] - CENTER
    dx, dy = x - CENTER, y - CENTER
    length = np.hypot(dx, dy)
    along, across = (columns * dx + rows * dy) / length, (columns * dy - rows * dx) / length
    inside = (along >= 0) & (along <= length) & (across >= -WIDTH / 2) & (across < WIDTH / 2)
    return inside.astype(float)


def lanczos(before: int, after: int, lobes: int = 3) -> np.ndarray:
    """Matrix ``[after, before]`` that reduces one dimension by a Lanczos window, its rows summing to one."""
    scale = before / after
    centers = (np.arange(after) + 0.5) * scale
    distance = (np.arange(before) + 0.5 - centers[:, None]) / scale
    weights = np.where(np.abs(distance) < lobes, np.sinc(distance) * np.sinc(distance / lobes), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def image_clarity(count: int, rng: np.random.Generator) -> np.ndarray:
    """Share of the image in its mixture with noise, ``[count, 100]``: a random walk, cut and stretched; 1 at first."""
    walk = np.empty((count, STEPS))
    walk[:, 0] = rng.random(count)
    for step in range(1, STEPS):
        walk[:, step] = (walk[:, step - 1] + rng.uniform(-0.2, 0.2, count)).clip(0, 1)
    low, high = rng.uniform(0, 0.25, (count, 1)), rng.uniform(0.75, 1, (count, 1))
    clarity = ((walk - low) / (high - low)).clip(0, 1)
    clarity[:, :CLEAR] = 1
    return clarity


def _disturb(images: np.ndarray, clarity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for image, factor in zip(images, clarity.astype(np.float32), strict=True):  # one sequence at a time: less memory
        noise = 255 * rng.random(image.shape, dtype=np.float32)
        factor = factor[:, None, None]
        image[:] = factor * image + (1 - factor) * noise
    return images
