"""A thread pool for the CPU kernels.

Numba's parallel loops are not used, because they fail after a fork and when called from several threads.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch

WORTH_A_THREAD = 2**15  # states; for fewer, starting a task takes longer than the work itself

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def threads_for(states: int) -> int:
    """Number of threads among which to share the work on this number of states."""
    return max(1, min(torch.get_num_threads(), states // WORTH_A_THREAD))


def in_parallel(tasks: Sequence[Callable[[], None]]) -> None:
    """Run the first task in this thread and the others in the pool, and wait for all of them."""
    futures = [_executor().submit(task) for task in tasks[1:]]
    try:
        tasks[0]()
    finally:
        wait(futures)  # the tasks write to memory that the caller may release
    for future in futures:
        future.result()


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="s5forecast")
        return _pool


def _after_fork() -> None:
    """Start without a pool in a child process, which has none of the threads that may hold the lock."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
