"""Sequence classification tasks: real data in fixed splits, read from a folder."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PIXELS = 255.0
AMPLITUDE = 127.0
PERMUTATION_SEED = 92  # arbitrary
SPEECH_STEPS = 4096  # 76 % of the digits are shorter
COMMANDS = ("go", "right", "stop", "yes")


@dataclass(frozen=True)
class Split:
    """Labelled sequences of one part of a task."""

    x: Tensor  # [S, T] integer tokens or float32 values; [S, 2, T] for pairs of sequences
    length: Tensor  # [S] or [S, 2] int64, steps before the padding
    y: Tensor  # [S] int64

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Task:
    """A sequence classification task.

    Attributes:
        train, validation, test: the three parts.
        classes: number of classes.
        tokens: size of the vocabulary; ``None`` for real values.
        pairs: whether a sample is two sequences, ``[S, 2, T]``.
        halved: whether the test is repeated at half the sampling rate.
    """

    train: Split
    validation: Split
    test: Split
    classes: int
    tokens: int | None = None
    pairs: bool = False
    halved: bool = False

    @classmethod
    def of(cls, x: np.ndarray, length: np.ndarray | None, y: np.ndarray, split: np.ndarray, **settings: object) -> Task:
        """A task from arrays of all parts; ``split`` is 0 for training, 1 for validation, 2 for test."""
        length = np.full(len(y), x.shape[-1]) if length is None else length
        parts = [
            Split(torch.from_numpy(x[rows]), torch.from_numpy(length[rows]).long(), torch.from_numpy(y[rows]).long())
            for rows in (split == number for number in range(3))
        ]
        return cls(*parts, classes=int(y.max()) + 1, **settings)  # type: ignore[arg-type]


def mnist(folder: Path, *, permuted: bool = False) -> Task:
    """Digits, pixel by pixel, or in one fixed random order of the pixels."""
    found = np.load(folder / "mnist" / "mnist.npz")
    parts = ("train", "val", "test")
    x = np.concatenate([found[f"X_{part}"].reshape(-1, 784) for part in parts]).astype(np.float32) / PIXELS
    if permuted:
        x = x[:, np.random.default_rng(PERMUTATION_SEED).permutation(x.shape[1])]
    y = np.concatenate([found[f"y_{part}"] for part in parts])
    split = np.repeat(range(3), [len(found[f"y_{part}"]) for part in parts])
    return Task.of(x, None, y, split)


def pixels_permuted(folder: Path) -> Task:
    """Digits in one fixed random order of the pixels."""
    return mnist(folder, permuted=True)


def digits(folder: Path) -> Task:
    """Spoken digits at 8 kHz, cut after 4,096 samples."""
    labels = np.load(folder / "fsdd" / "labels.npz")
    x = _audio(folder / "fsdd")[:, :SPEECH_STEPS]
    return Task.of(x, labels["length"].clip(max=SPEECH_STEPS), labels["y"], labels["split"], halved=True)


def commands(folder: Path) -> Task:
    """Four spoken words at 16 kHz; no speaker is in two parts."""
    labels = np.load(folder / "speech_commands10" / "labels.npz")
    wanted = [labels["classes"].tolist().index(word) for word in COMMANDS]
    rows = np.isin(labels["y"], wanted)
    y = np.searchsorted(np.sort(wanted), labels["y"][rows])
    return Task.of(_audio(folder / "speech_commands10")[rows], None, y, labels["split"][rows], halved=True)


def listops(folder: Path) -> Task:
    """Nested expressions of minima, maxima, medians and sums of digits."""
    return _tokens(folder / "listops" / "listops_mini.npz", 16)


def subjectivity(folder: Path) -> Task:
    """Sentences from plots and from reviews, as bytes."""
    return _tokens(folder / "subjectivity" / "subjectivity.npz", 256)


def movie_reviews(folder: Path) -> Task:
    """Negative and positive reviews, as bytes."""
    x = _compressed(folder / "movie_reviews" / "bytes4096.npy.xz")
    labels = np.load(folder / "movie_reviews" / "labels.npz")
    return Task.of(x, labels["length"].clip(max=x.shape[1]), labels["y"], labels["split"], tokens=256)


def pathfinder(folder: Path) -> Task:
    """Images of 16 x 16 pixels with two discs, on one dashed path or on two."""
    x, y, split = _images(folder / "pathfinder" / "pathfinder16.npz")
    return Task.of(x, None, y, split)


def pathfinder32(folder: Path) -> Task:
    """Images of 32 x 32 pixels with two discs, on one dashed path or on two, with more for training."""
    x, y, split = _images(folder / "pathfinder" / "pathfinder32.npz")
    further = folder / "pathfinder" / "pathfinder32_more.npz"
    if not further.exists():
        raise FileNotFoundError(f"{further} is missing; NOTES.md names the command that generates it")
    more = _images(further)
    x, y, split = (np.concatenate(pair) for pair in zip((x, y, split), more, strict=True))
    return Task.of(x, None, y, split)


TASKS: dict[str, Callable[[Path], Task]] = {
    "mnist": mnist,
    "mnist_permuted": pixels_permuted,
    "digits": digits,
    "commands": commands,
    "listops": listops,
    "subjectivity": subjectivity,
    "movie_reviews": movie_reviews,
    "pathfinder16": pathfinder,
    "pathfinder32": pathfinder32,
}


def full(
    folder: Path,
    name: str,
    *,
    classes: int,
    steps: int,
    tokens: int | None = None,
    pairs: bool = False,
    halved: bool = False,
) -> Task:
    """A full task from the arrays x, length, y and split of ``<name>.npz``, see ``Task.of``; pairs: ``[S, 2, T]``."""
    found = np.load(folder / f"{name}.npz")
    if found["x"].shape[-1] > steps:
        raise ValueError(f"{name}.npz has {found['x'].shape[-1]} steps, expected at most {steps}")
    x = found["x"] if tokens else found["x"].astype(np.float32)
    task = Task.of(x, found["length"], found["y"], found["split"], tokens=tokens, pairs=pairs, halved=halved)
    return replace(task, classes=classes)


def generated(
    steps: int, classes: int, tokens: int | None = None, pairs: bool = False, halved: bool = False, count: int = 2
) -> Task:
    """Random sequences and labels in the shape of a task."""
    rng, shape = np.random.default_rng(0), (count, 2, steps) if pairs else (count, steps)
    x = rng.integers(tokens, size=shape) if tokens else rng.normal(size=shape).astype(np.float32)
    length = torch.full((count, 2) if pairs else (count,), steps)
    part = Split(torch.from_numpy(x), length, torch.arange(count) % classes)
    return Task(part, part, part, classes, tokens, pairs, halved)


def _tokens(file: Path, tokens: int) -> Task:
    found = np.load(file)
    return Task.of(found["X"], found["length"], found["y"], found["split"], tokens=tokens)


def _images(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels row by row, labels and parts; a generated file is for training."""
    found = np.load(file)
    y = found["y"]
    return found["X"].reshape(len(y), -1).astype(np.float32) / PIXELS, y, found.get("split", np.zeros_like(y))


def _audio(folder: Path) -> np.ndarray:
    """Samples from -1 to 1, stored as differences of 8-bit numbers."""
    return np.cumsum(_compressed(folder / "delta_int8.npy.xz"), 1, dtype=np.int8).astype(np.float32) / AMPLITUDE


def _compressed(file: Path) -> np.ndarray:
    with lzma.open(file) as stream:
        return np.load(stream)
