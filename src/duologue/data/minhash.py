"""A sketch of a text that tells how many three-word phrases it shares with another: MinHash and its bands.

A. Broder, "On the resemblance and containment of documents" (1997); only two bits of each minimum are kept: P. Li and
A. König, "b-Bit Minwise Hashing" (2010). Every constant comes from a fixed stream, so sketches are equal in every
process.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORDS_PER_SHINGLE = 3
NUM_PERMUTATIONS = 128
NUM_BANDS = 8
ROWS_PER_BAND = 5
SIGNATURE_BYTES = NUM_PERMUTATIONS // 4

_BLOCK_BYTES = 1 << 16
_BLOCK_SHINGLES = 512  # 128 x 512 numbers of 4 bytes stay in the processor's cache
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_MIX = 0xD6E8FEB86659FD93
_ONE_OF_TWO_BITS = int.from_bytes(b"\x55" * SIGNATURE_BYTES)
_CHANCE = 0.25  # two bits agree by chance

_SPACE = 32
# Lower-case letters, digits and every byte above ASCII are parts of words.
_SIGNS_TO_SPACE = bytes(
    octet if chr(octet) in "abcdefghijklmnopqrstuvwxyz0123456789" or octet >= 128 else _SPACE for octet in range(256)
)
_SIGNS = re.compile(
    "[\u00a0-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u3020\uff01-\uff0f]+"
)
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of a text.

    Attributes:
        signature: Two bits of the smallest hash under each permutation, as one number.
        band_keys: One number per band, never 0; texts with an equal one are compared.
    """

    signature: int
    band_keys: tuple[int, ...]


def sketch(text: str) -> Sketch | None:
    """Return the sketch of a text; None where it has no words.

    Signs and case do not count. Of scripts that put no spaces between words every character counts as a word.
    """
    import numpy as np

    multipliers, weights, places = _constants()
    hashes = shingle_hashes(text)
    if not len(hashes):
        return None
    minima = np.multiply.outer(multipliers, hashes[:_BLOCK_SHINGLES]).min(axis=1)
    for start in range(_BLOCK_SHINGLES, len(hashes), _BLOCK_SHINGLES):
        block = np.multiply.outer(multipliers, hashes[start : start + _BLOCK_SHINGLES])
        np.minimum(minima, block.min(axis=1), out=minima)
    two_bits = ((minima * np.uint32(_MIX & 0xFFFFFFFF)) >> np.uint32(30)).reshape(SIGNATURE_BYTES, 4)
    signature = int.from_bytes((two_bits @ places).astype(np.uint8).tobytes())
    rows = minima[: NUM_BANDS * ROWS_PER_BAND].astype(np.uint64).reshape(NUM_BANDS, ROWS_PER_BAND)
    keys = (np.add.reduce(rows * weights, axis=1) >> np.uint64(32)).tolist()
    return Sketch(signature, tuple(key or 1 for key in keys))


def estimate_similarity(signature: int, other: int) -> float:
    """Return the estimated Jaccard similarity of two texts, from 0 to 1.

    Its standard error is 0.042 at a similarity of 0.8 (128 pairs of bits, a quarter of which agree by chance).
    """
    differing = signature ^ other
    num_equal = NUM_PERMUTATIONS - ((differing | differing >> 1) & _ONE_OF_TWO_BITS).bit_count()
    return max(0.0, (num_equal / NUM_PERMUTATIONS - _CHANCE) / (1 - _CHANCE))


def shingle_hashes(text: str) -> "NDArray[np.uint32]":
    """Return a hash of every three words in a row; of all words together where there are fewer."""
    import numpy as np

    if not text.isascii():
        text = _UNSPACED.sub(r" \g<0> ", _SIGNS.sub(" ", text.casefold()))
    octets = text.lower().encode(errors="surrogatepass").translate(_SIGNS_TO_SPACE)
    blocks = [_word_hashes(octets[start:end]) for start, end in _blocks(octets)]
    words = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    num_missing = WORDS_PER_SHINGLE - len(words)
    if num_missing > 0:
        words = np.concatenate((words, np.zeros(num_missing if len(words) else 0, np.uint64)))
    num_shingles = max(0, len(words) - WORDS_PER_SHINGLE + 1)
    _, inverses = _powers()
    hashes = np.zeros(num_shingles, np.uint64)
    for offset in range(WORDS_PER_SHINGLE if num_shingles else 0):
        hashes += words[offset : offset + num_shingles] * inverses[offset + 1]
    high: NDArray[np.uint32] = (hashes >> np.uint64(32)).astype(np.uint32)
    return high


def _blocks(octets: bytes) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks that end between words, or inside one that is longer than a block."""
    start = 0
    while len(octets) - start > _BLOCK_BYTES:
        space = octets.rfind(_SPACE, start, start + _BLOCK_BYTES)
        end = space + 1 if space >= start else start + _BLOCK_BYTES
        yield start, end
        start = end
    yield start, len(octets)


def _word_hashes(octets: bytes) -> "NDArray[np.uint64]":
    """Return a hash of each word of a block.

    A polynomial hash of the bytes between two places is the difference of two sums over the prefix, divided by the
    power of the base at the first place: a few operations on whole arrays, whatever the number of words.
    """
    import numpy as np

    padded = np.frombuffer(b" %b " % octets, np.uint8)
    powers, inverses = _powers()
    is_word = padded != _SPACE
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    sums = np.cumsum(padded * powers[: len(padded)])
    starts, ends = edges[::2], edges[1::2]
    hashes: NDArray[np.uint64] = (sums[ends] - sums[starts]) * inverses[starts]
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(_MIX)
    return hashes ^ hashes >> np.uint64(29)


@cache
def _powers() -> "tuple[NDArray[np.uint64], NDArray[np.uint64]]":
    """Return the powers of the base and of its inverse modulo 2^64, beginning with the first power."""
    import numpy as np

    base, inverse = (np.full(_BLOCK_BYTES + 2, number, np.uint64) for number in (_BASE, pow(_BASE, -1, 2**64)))
    return np.cumprod(base, dtype=np.uint64), np.cumprod(inverse, dtype=np.uint64)


@cache
def _constants() -> "tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint32]]":
    """Return multipliers that permute the hashes, weights of the rows of each band, places of four pairs of bits."""
    import numpy as np

    stream = _splitmix(NUM_PERMUTATIONS + NUM_BANDS * ROWS_PER_BAND)
    multipliers = np.array([(number >> 32) | 1 for number in stream[:NUM_PERMUTATIONS]], np.uint32)
    weights = np.array([number | 1 for number in stream[NUM_PERMUTATIONS:]], np.uint64)
    return multipliers, weights.reshape(NUM_BANDS, ROWS_PER_BAND), np.array([1, 4, 16, 64], np.uint32)


def _splitmix(num: int) -> list[int]:
    """Return the first numbers of SplitMix64 (Steele, Lea and Flood, 2014) with the seed 0."""
    numbers = []
    for step in range(1, num + 1):
        state = step * _BASE % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        numbers.append(state ^ state >> 31)
    return numbers
