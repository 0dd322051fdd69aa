"""llama.cpp's own quantisation of weights, called in the library that xllamacpp brings.

The bindings do not offer it, but the library exports it (ggml.h: `ggml_quantize_chunk`). What it writes is by
construction what llama.cpp reads.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

_MAX_THREADS = 8  # more only wait for the disk


def quantized_rows(rows: NDArray[np.float32], kind: int) -> NDArray[np.uint8]:
    """Return rows of weights in a quantised form.

    Args:
        rows: Rows x columns; the columns are a multiple of the kind's block.
        kind: ggml's number of the form, such as 8 for Q8_0.

    Returns:
        The bytes of each row.
    """
    library = _library()
    num_rows, num_columns = rows.shape
    assert num_columns % library.ggml_blck_size(kind) == 0, "the caller chooses a form that fits the row"
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    written = np.empty((num_rows, library.ggml_row_size(kind, num_columns)), dtype=np.uint8)

    def work(begin: int, end: int) -> None:
        source, target = rows[begin:end].ctypes.data, written[begin:end].ctypes.data
        count = library.ggml_quantize_chunk(kind, source, target, 0, end - begin, num_columns, None)
        assert count == written[begin:end].nbytes

    num_threads = min(os.cpu_count() or 1, _MAX_THREADS, num_rows)
    edges = [num_rows * part // num_threads for part in range(num_threads + 1)]
    with ThreadPoolExecutor(num_threads) as pool:  # ctypes lets go of the interpreter during the call
        list(pool.map(work, edges[:-1], edges[1:]))
    return written


@cache
def _library() -> ctypes.CDLL:
    import xllamacpp.xllamacpp

    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    library.ggml_blck_size.argtypes = [ctypes.c_int]
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.ggml_row_size.restype = ctypes.c_size_t
    # type, source, target, first element, rows, columns, importance of each column
    pointers = [ctypes.c_void_p, ctypes.c_void_p]
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, *pointers, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library
