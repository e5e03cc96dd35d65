"""A pool of threads for the CPU kernels.

Numba's own parallel loops are not used: they do not survive a fork, nor calls from several threads.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch

WORTH_A_THREAD = 2**15  # states; handing fewer over takes longer than working on them

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def threads_for(states: int) -> int:
    """How many threads to share the work on so many states among."""
    return max(1, min(torch.get_num_threads(), states // WORTH_A_THREAD))


def in_parallel(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs the first task here and the others in the pool, and waits for all."""
    futures = [_executor().submit(task) for task in tasks[1:]]
    try:
        tasks[0]()
    finally:
        wait(futures)  # they write into memory that the caller may give up
    for future in futures:
        future.result()


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="s5forecast")
        return _pool


def _after_fork() -> None:
    """The threads of the parent do not exist in a child, and its lock may be held by one of them."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
