"""Worker processes of a study: how they start, how they end with their parent, and their one thread."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from multiprocessing import resource_tracker
from typing import Any

from linphase.interrupts import SIGNALS


@contextmanager
def start() -> Iterator[None]:
    """Start workers out of reach of interrupts until `settle`, and trackers that do not tell what they tidy.

    A tracker removes what a process that was interrupted has left in shared memory.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join([*([before] if before else []), "ignore:resource_tracker"])
    mask = None
    if hasattr(signal, "pthread_sigmask"):  # a new process inherits a mask, but no handler
        resource_tracker.ensure_running()  # its start would lift the mask
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def settle(parent: int) -> None:
    """Let a worker leave Ctrl-C to its parent, and not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def stop(results: Generator[Any, None, None]) -> None:
    """End the computation of results that nobody waits for any more."""
    with warnings.catch_warnings():  # joblib's, that what is interrupted is not finished
        warnings.simplefilter("ignore")
        results.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run under one thread of BLAS, Numba and torch: the number of threads can change the last digits.

    What a block imports is loaded by then: its digest has followed it.
    """
    import scipy.linalg  # noqa: F401  (only a BLAS that is loaded can be limited)
    from threadpoolctl import threadpool_limits

    numba: Any = import_module("numba")  # the package's own kernels may be loaded later
    torch = sys.modules.get("torch")
    pools: list[Any] = [torch] if torch else []
    if numba.config.NUMBA_NUM_THREADS > 1:
        pools.append(numba)
    before = [pool.get_num_threads() for pool in pools]
    with threadpool_limits(1), ExitStack() as stack:
        for pool, threads in zip(pools, before, strict=True):
            stack.callback(pool.set_num_threads, threads)
            pool.set_num_threads(1)
        yield
