"""The speed of this machine's CPU in matrix products. Apart, so that only a measurement imports numpy."""

import time

import numpy as np

_SHAPE = (256, 576, 576)  # tokens x hidden size squared of a small model: 1 ms, short enough to slip between neighbours
_ONE_CORE_SHAPE = (64, 64, 64)  # so small that it is not shared among threads
_ONE_CORE_SECONDS = 0.02
_ENOUGH = 40  # products in a row without a better one, and the speed counts as found


def measure_cpu_gflops(*, seconds: float = 0.25) -> float:
    """Return the best single-precision matrix speed seen in at most about `seconds`, in 1e9 FLOP/s.

    The best of several products counts: a disturbance by another process can only make one slower. Where two threads
    are kept from running at the same time, a shared product takes twenty times as long as it should and says nothing;
    the speed of one core is then the better answer.
    """
    one_core = _best_gflops(_ONE_CORE_SHAPE, seconds=min(seconds, _ONE_CORE_SECONDS))
    return max(one_core, _best_gflops(_SHAPE, seconds=seconds))


def _best_gflops(shape: tuple[int, int, int], *, seconds: float) -> float:
    rows, inner, columns = shape
    left = np.full((rows, inner), 0.5, dtype=np.float32)
    right = np.full((inner, columns), 0.25, dtype=np.float32)
    product = np.empty((rows, columns), dtype=np.float32)
    np.matmul(left, right, out=product)  # starts the threads and touches the pages
    best, num_since = float("inf"), 0
    end = time.perf_counter() + seconds
    while num_since < _ENOUGH and time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        taken = time.perf_counter() - start
        num_since = 0 if taken < best else num_since + 1
        best = min(best, taken)
    return 2 * rows * inner * columns / best / 1e9
