"""The speed of this machine's CPU in matrix products. Apart, so that only a measurement imports numpy."""

import time

import numpy as np

_SHAPE = (256, 576, 576)  # tokens x hidden size squared of a small model: 1 ms, short enough to slip between neighbours


def measure_cpu_gflops(*, seconds: float = 0.25) -> float:
    """Return the best single-precision matrix speed seen in about `seconds`, in 1e9 FLOP/s.

    The best of several products counts: a disturbance by another process can only make one slower.
    """
    rows, inner, columns = _SHAPE
    left = np.full((rows, inner), 0.5, dtype=np.float32)
    right = np.full((inner, columns), 0.25, dtype=np.float32)
    product = np.empty((rows, columns), dtype=np.float32)
    np.matmul(left, right, out=product)  # starts the threads and touches the pages
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best / 1e9
