"""Run a backtest: fit and forecast in sequence or in parallel, and store finished origins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, NamedTuple
from zipfile import BadZipFile

import numpy as np
from tqdm.auto import tqdm

from s5forecast.evaluation.fingerprint import fingerprint
from s5forecast.evaluation.models import Model
from s5forecast.evaluation.windows import Window

PIECES_PER_JOB = 4
STORE_FORMAT = 2  # of the arrays in a folder


class Result(NamedTuple):
    """Values ``[columns, M]`` of the M rows of some windows, and the seconds spent on them."""

    values: np.ndarray
    seconds: float
    fit_seconds: float


class Piece(NamedTuple):
    """Windows that are forecast and stored together."""

    number: int
    windows: list[Window]


class Block(NamedTuple):
    """Pieces forecast by one fitted model, and the windows whose histories it is fitted on."""

    fitted_before: list[Window]
    pieces: list[Piece]


@dataclass(frozen=True)
class Run:
    """Forecasts windows with a model.

    Args:
        model: the model.
        columns: columns to forecast.
        samples: whether to keep sample paths.
        refit: number of origins between fits; 0 fits once.
        n_jobs: number of parallel processes, as in joblib.
        progress: whether to show a progress bar.
        name: name of the model, for messages.
    """

    model: Model
    columns: list[str]
    samples: bool
    refit: int
    n_jobs: int
    progress: bool
    name: str

    def results(self, origins: list[list[Window]], store: Store | None) -> list[Result]:
        """Results in the order of the windows; stored results are reused."""
        blocks = self._blocks(origins, by_origin=store is not None)
        done = {} if store is None else {p.number: r for b in blocks for p in b.pieces if (r := store.load(p.number))}
        left = [Block(b.fitted_before, [p for p in b.pieces if p.number not in done]) for b in blocks]
        left = [block for block in left if block.pieces]
        windows = {piece.number: piece.windows for block in blocks for piece in block.pieces}
        finished = sum(len(windows[number]) for number in done)
        with _bar(self.progress, self.name, sum(map(len, windows.values())), finished) as update:
            for number, result in self._forecast(left, update):
                self._refuse_missing(result, windows[number])
                done[number] = result
                if store is not None:
                    store.save(number, result)
        return [done[number] for number in sorted(done)]

    def _blocks(self, origins: list[list[Window]], by_origin: bool) -> list[Block]:
        every = self.refit if self.refit and self.model.trains else len(origins)
        starts = range(0, len(origins), every)
        if by_origin or len(starts) > 1:
            pieces = [Piece(number, windows) for number, windows in enumerate(origins)]
            return [Block(origins[start], pieces[start : start + every]) for start in starts]
        windows = [window for origin in origins for window in origin]
        count = 1 if self._jobs == 1 else min(len(windows), PIECES_PER_JOB * self._jobs)
        bounds = np.linspace(0, len(windows), count + 1).astype(int)
        parts = [windows[begin:end] for begin, end in pairwise(bounds)]
        return [Block(origins[0], [Piece(number, part) for number, part in enumerate(parts)])]

    def _forecast(self, blocks: list[Block], update: Callable[[int], Any]) -> Iterator[tuple[int, Result]]:
        if self._jobs == 1:
            for block in blocks:
                yield from _results(self.model, block, self.columns, self.samples, update)
            return
        from joblib import Parallel, delayed

        model, seconds = self.model, 0.0
        if len(blocks) == 1:
            (block,) = blocks
            model, seconds = _fitted(model, block.fitted_before)
            blocks = [Block([], [piece]) for piece in block.pieces]
        sizes = {piece.number: len(piece.windows) for block in blocks for piece in block.pieces}
        jobs = (delayed(_listed)(model, block, self.columns, self.samples) for block in blocks)
        for found in Parallel(n_jobs=self.n_jobs, return_as="generator")(jobs):
            for number, result in found:
                update(sizes[number])
                yield number, result._replace(fit_seconds=result.fit_seconds + seconds)
                seconds = 0.0

    def _refuse_missing(self, result: Result, windows: Sequence[Window]) -> None:
        absent = np.isnan(result.values).any(axis=0)  # [M]
        ends = np.cumsum([len(window.names) * window.length for window in windows])
        for window, rows in zip(windows, np.split(absent, ends[:-1]), strict=True):
            if rows.any():
                cutoff, *times = window.timestamps(None)
                when = f"{times[int(rows.argmax()) % window.length]}, made at {cutoff}"
                raise ValueError(f"the forecast by {self.name!r} of series {window.item_id!r} at {when}, is NaN")

    @property
    def _jobs(self) -> int:
        from joblib import effective_n_jobs

        return int(effective_n_jobs(self.n_jobs))


class Store:
    """Finished origins of one backtest in a folder, one file each.

    Args:
        folder: created if it does not exist.
        description: plain data that identifies the backtest.

    Raises:
        ValueError: the folder holds another backtest, or a damaged file.
    """

    def __init__(self, folder: str | Path, description: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        about = self.folder / "backtest.json"
        if not about.exists():
            if any(self.folder.glob("origin_*.npz")):
                raise ValueError(f"{self.folder} holds origins without {about.name}; use an empty folder")
            with _replacing(about) as file:
                file.write(json.dumps(description, indent=1).encode())
        with _named_when_damaged(about):
            found = json.loads(about.read_text())
        differ = [key for key in description if found.get(key) != description[key]]
        if differ:
            raise ValueError(f"{self.folder} holds a backtest with another {', '.join(differ)}; use an empty folder")

    def load(self, number: int) -> Result | None:
        """The result of an origin, or None if it is not stored."""
        path = self._path(number)
        if not path.exists():
            return None
        with _named_when_damaged(path), path.open("rb") as file, np.load(file) as found:
            return Result(found["values"], float(found["seconds"]), float(found["fit_seconds"]))

    def save(self, number: int, result: Result) -> None:
        """Store the result of an origin."""
        with _replacing(self._path(number)) as file:
            np.savez(file, **result._asdict())

    def _path(self, number: int) -> Path:
        return self.folder / f"origin_{number:04d}.npz"


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file atomically: it appears at its path only once it is complete."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        yield file
    os.replace(part, path)


@contextmanager
def _named_when_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it") from error


def describe(run: Run, model: str, windows: list[Any], origins: list[list[Window]]) -> dict[str, Any]:
    """Plain data that identifies a backtest.

    Args:
        run: how the windows are forecast.
        model: class of the model.
        windows: settings of the splitter and of ``refit``.
        origins: the windows.
    """
    entries = {window.item_id: window.entry for origin in origins for window in origin}
    return {
        "format_version": STORE_FORMAT,
        "name": str(run.name),
        "model": model,
        "settings": run.model.settings(origins[0]),
        "data": fingerprint(entries),
        "windows": windows,
        "columns": run.columns,
        "samples": run.samples,
    }


def _results(
    model: Model, block: Block, columns: list[str], samples: bool, update: Callable[[int], Any]
) -> Iterator[tuple[int, Result]]:
    fitted, fit_seconds = _fitted(model, block.fitted_before)
    for piece in block.pieces:
        began = perf_counter()
        values = []
        for value in fitted.values(piece.windows, columns, samples):
            values.append(value)
            update(1)
        yield piece.number, Result(_joined_windows(values), perf_counter() - began, fit_seconds)
        fit_seconds = 0.0


def _listed(model: Model, block: Block, columns: list[str], samples: bool) -> list[tuple[int, Result]]:
    return list(_results(model, block, columns, samples, lambda count: None))


def _fitted(model: Model, windows: Sequence[Window]) -> tuple[Model, float]:
    """The model fitted on the histories of these windows, and the seconds it took."""
    if not windows or not model.trains:
        return model, 0.0
    began = perf_counter()
    return model.fit(windows), perf_counter() - began


def _joined_windows(values: list[np.ndarray]) -> np.ndarray:
    counts = {len(value) for value in values}
    if len(counts) > 1:
        raise ValueError(f"the forecasts have different numbers of samples: {sorted(counts)} rows")
    return np.concatenate(values, axis=1)


@contextmanager
def _bar(shown: bool, name: str, total: int, finished: int) -> Iterator[Callable[[int], Any]]:
    if not shown:
        yield lambda count: None
        return
    with tqdm(total=total, initial=finished, desc=name, unit="window", mininterval=0.5) as bar:
        yield bar.update
