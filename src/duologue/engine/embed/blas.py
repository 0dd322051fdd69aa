"""How many threads numpy's own BLAS uses: one, for products as small as ours.

On two busy cores OpenBLAS's threads wait for each other: one question takes 46 to 71 ms with two, 13 ms with one.
"""

import ctypes
from contextlib import suppress
from pathlib import Path

import numpy as np

_SETTERS = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")


def use_one_thread() -> bool:
    """Tell the OpenBLAS inside numpy's wheel to use one thread; return whether there was one to tell.

    torch and llama.cpp bring their own libraries and keep their threads.
    """
    root = Path(np.__file__).parent
    for folder in (root.with_name("numpy.libs"), root / ".dylibs"):
        for file in sorted(folder.glob("*openblas*")):
            with suppress(OSError):
                library = ctypes.CDLL(str(file))
                for setter in _SETTERS:
                    if hasattr(library, setter):
                        getattr(library, setter)(1)
                        return True
    return False
