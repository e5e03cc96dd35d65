"""Batches that a thread makes while the previous ones are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import copy_context
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
# Batches that are ready, at most.
AHEAD = 4
# Seconds after which a waiting thread checks whether it has to end.
WAKE = 0.05
# What the thread passes on after the last batch.
_END = object()


class Prefetched(Generic[T]):
    """Batches in the same order as without the thread, to be iterated once.

    Args:
        batches: makes the batches, in the thread.
        generator: random number generator of the batches.
    """

    def __init__(self, batches: Iterable[T], generator: torch.Generator) -> None:
        self._batches, self._generator, self._used = batches, generator, generator.get_state()
        self._ready, self._stopped = Queue[tuple[Any, Tensor]](AHEAD), Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=copy_context().run, args=(self._fill,), name="s5forecast-batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """The batches; an error of the thread is raised in place of the batch that has it."""
        while not self._stopped.is_set():
            batch = self._next()
            if batch is _END:
                return
            yield batch

    def close(self) -> None:
        """End the thread, and set the generator back to where it was after the last batch that was used."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()
            self._generator.set_state(self._used)

    def _next(self) -> Any:
        """The next batch, or the end, when it is ready."""
        batch, self._used = self._ready.get()
        if batch is _END and self._error is not None:
            raise self._error
        return batch

    def _fill(self) -> None:
        try:
            for batch in self._batches:
                self._put(batch)
                if self._stopped.is_set():
                    return
        except BaseException as error:  # raised where the batch is used
            self._error = error
        self._put(_END)

    def _put(self, batch: Any) -> None:
        """Pass a batch on, unless the batches are closed."""
        while not self._stopped.is_set():
            try:
                return self._ready.put((batch, self._generator.get_state()), timeout=WAKE)
            except Full:
                continue
