"""Batches that a thread makes while the previous ones are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from s5forecast.windows.mapped import MappedStore

T = TypeVar("T")
# Batches that are ready, at most.
AHEAD = 2
# Seconds after which a thread that waits looks whether it has to end.
WAKE = 0.05
# What the thread passes on after the last batch.
_END = object()


@contextmanager
def ahead(batches: Iterable[T]) -> Iterator[Iterable[T]]:
    """Batches of windows on disk, made by a thread that ends with the block; other batches unchanged."""
    if not isinstance(getattr(batches, "store", None), MappedStore):
        yield batches
        return
    with closing(Prefetched(batches)) as found:
        yield found


class Prefetched(Generic[T]):
    """Batches in the same order as without the thread; the thread ends with the iteration or with :meth:`close`.

    Args:
        batches: makes the batches; used by the thread alone during an iteration.
    """

    def __init__(self, batches: Iterable[T]) -> None:
        self.batches = batches
        self._running: list[_Filler] = []

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[T]:
        filler = _Filler(self.batches)
        self._running.append(filler)
        try:
            while (batch := filler.next()) is not _END:
                yield batch
        finally:
            filler.close()
            self._running.remove(filler)

    def close(self) -> None:
        """End all threads, also those of iterations that were abandoned."""
        for filler in self._running:
            filler.close()


class _Filler:
    """A thread that makes batches, of which it keeps few ahead of those that are used."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches, self._ready, self._stopped = batches, Queue[Any](AHEAD), Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=copy_context().run, args=(self._fill,), name="s5forecast-batches", daemon=True)
        self._thread.start()

    def next(self) -> Any:
        """The next batch, or the end; raises the error of the thread in its place."""
        batch = self._ready.get()
        if batch is _END and self._error is not None:
            raise self._error
        return batch

    def close(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self._thread.join()

    def _fill(self) -> None:
        try:
            for batch in self._batches:
                if not self._put(batch):
                    return
        except BaseException as error:  # raised where the batch is used
            self._error = error
        self._put(_END)

    def _put(self, batch: Any) -> bool:
        """Pass a batch on; False if the iteration has ended."""
        while not self._stopped.is_set():
            try:
                self._ready.put(batch, timeout=WAKE)
                return True
            except Full:
                continue
        return False
