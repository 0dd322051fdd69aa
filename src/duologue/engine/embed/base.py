"""What an embedder is: texts in, one unit vector each out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns texts into vectors whose dot products tell how near they are in meaning. Threads may share one."""

    @property
    def name(self) -> str:
        """What it is called, such as `all-MiniLM-L6-v2`."""
        ...

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of its weights: vectors of other weights are not comparable."""
        ...

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one row of length 1 per text, shape (len(texts), dim), float32."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return the tokens of the texts together, and how many texts are longer than what is read of one."""
        ...
