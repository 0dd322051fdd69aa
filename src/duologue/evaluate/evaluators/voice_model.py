"""A small classifier of voices: logistic regression on hashed character and word sequences.

It is made to hear how something is said rather than what about. A word that fewer than three conversations use is
masked by its shape, as is each name and each longer word of the turn that is answered (text distortion: Stamatatos
2017, Authorship Attribution Using Text Distortion). Texts are read up to the same number of words, nothing is said
about their end, and features have length one, so that neither length nor being cut off tells much.
"""

import re
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from duologue.evaluate.evaluators.heard import Heard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MOST_WORDS = 60
"""Words that are read of a reply."""

_CHAR_FEATURES = 4096
_WORD_FEATURES = 2048
_LEAST_UNITS = 3  # conversations that use a word which is not masked
_SHORT_LETTERS = 3  # a word of the question as short as this is no topic
_PENALTY = 0.003  # L2, per example; by trial on made-up voices, where 0.001 to 0.01 hardly differ
_NEIGHBOURS = 5
_NUM_STEPS = 150  # of Nesterov's method; the weights stand still long before
_PIECE = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*|[^\w\s]|_|\s+")


def features(replies: Sequence[Heard], *, names: Collection[str]) -> "NDArray[np.float32]":
    """Return one row of features of length one for each reply.

    Args:
        replies: All that will be learned from and judged: words are masked by how many of their units use them, which
            looks at no label.
        names: Lower-case words that are always masked.
    """
    import numpy as np

    pieces = [_pieces(reply.text) for reply in replies]
    kept = _kept(replies, pieces) - set(names)
    rows = np.zeros((len(replies), _CHAR_FEATURES + _WORD_FEATURES), dtype=np.float32)
    for row, reply, parts in zip(rows, replies, pieces, strict=True):
        topic = {word for word in _words(_pieces(reply.question)) if len(word) > _SHORT_LETTERS}
        masked = [_mask(part, kept, topic) for part in parts]
        row[:_CHAR_FEATURES] = _characters("".join(masked))
        row[_CHAR_FEATURES:] = _word_row([part.lower() for part in masked if not part.isspace()])
    return rows


def alike(rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return the inner products of all rows, a constant feature included: all that `cross_fit` needs of them."""
    found: NDArray[np.float32] = rows @ rows.T + 1
    return found


def fit(products: "NDArray[np.float32]", is_real: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Return how much each row counts for a classifier that tells real rows from others; both classes weigh the same.

    The penalised logistic loss is minimised by Nesterov's accelerated gradient (Nesterov 2004, Introductory Lectures on
    Convex Optimization, 2.2), which needs no random start. Its weights are a sum of rows, so only the share of each row
    is kept: there are far fewer rows than features.

    Args:
        products: Of the rows to learn from, as `alike` gives them.
        is_real: Which of them are real.
    """
    import numpy as np

    labels = np.where(is_real, 1.0, -1.0)
    share = np.where(is_real, 0.5 / max(1, is_real.sum()), 0.5 / max(1, (~is_real).sum()))
    step = 1.0 / (0.25 * 2.0 + _PENALTY)  # rows have length sqrt(2) with the constant
    ratio = np.sqrt(_PENALTY * step)
    momentum = (1 - ratio) / (1 + ratio)
    shares = ahead = np.zeros(len(labels))
    for _ in range(_NUM_STEPS):
        margins = labels * (products @ ahead.astype(np.float32))
        pull = share * labels / (1 + np.exp(np.clip(margins, -30, 30)))
        after = ahead - step * (_PENALTY * ahead - pull)
        ahead = after + momentum * (after - shares)
        shares = after
    return shares


def cross_fit(
    products: "NDArray[np.float32]",
    is_real: "NDArray[np.bool_]",
    folds: "NDArray[np.int64]",
    *,
    is_learned: "NDArray[np.bool_] | None" = None,
) -> "Numbers":
    """Return how much each row sounds real, in log-odds, by a classifier that learned from the other folds only.

    Args:
        products: Of all rows.
        is_real: Which of them are real.
        folds: Number of each row's fold. A row whose fold leaves nothing to learn from is not a number.
        is_learned: Which rows may be learned from; all when None.
    """
    import numpy as np

    out = np.full(len(folds), np.nan)
    for fold in np.unique(folds):
        learned = np.flatnonzero((folds != fold) & (True if is_learned is None else is_learned))
        judged = np.flatnonzero(folds == fold)
        if is_real[learned].any() and not is_real[learned].all():
            shares = fit(products[np.ix_(learned, learned)], is_real[learned])
            out[judged] = products[np.ix_(judged, learned)] @ shares
    return out


def nearness(products: "NDArray[np.float32]", is_real: "NDArray[np.bool_]", folds: "NDArray[np.int64]") -> "Numbers":
    """Return how near each row is to the real rows of other folds: mean cosine with the five nearest.

    A classifier only knows two voices and gives any third one to either; a third one is near to no real reply (novelty
    by nearest neighbours, Ramaswamy et al. 2000, Efficient Algorithms for Mining Outliers).
    """
    import numpy as np

    out = np.zeros(len(folds))
    for fold in np.unique(folds):
        known = np.flatnonzero((folds != fold) & is_real)
        judged = np.flatnonzero(folds == fold)
        if len(known) >= _NEIGHBOURS:
            near = np.partition(products[np.ix_(judged, known)] - 1, -_NEIGHBOURS, axis=1)
            out[judged] = near[:, -_NEIGHBOURS:].mean(axis=1)
    return out


def _pieces(text: str) -> list[str]:
    """Return words, marks and spaces of a text, up to `MOST_WORDS` words."""
    out: list[str] = []
    num_words = 0
    for piece in _PIECE.findall(text.strip()):
        num_words += piece[0].isalnum()
        if num_words > MOST_WORDS:
            break
        out.append("\n" if "\n" in piece else " " if piece.isspace() else piece)
    return out


def _words(pieces: Sequence[str]) -> set[str]:
    return {piece.lower() for piece in pieces if piece[0].isalnum()}


def _kept(replies: Sequence[Heard], pieces: Sequence[Sequence[str]]) -> set[str]:
    units: dict[str, set[str]] = {}
    for reply, parts in zip(replies, pieces, strict=True):
        units.setdefault(reply.unit, set()).update(_words(parts))
    counts = Counter(word for words in units.values() for word in words)
    return {word for word, number in counts.items() if number >= _LEAST_UNITS}


def _mask(piece: str, kept: Collection[str], topic: Collection[str]) -> str:
    word = piece.lower()
    if not piece[0].isalnum() or (word in kept and word not in topic):
        return piece
    return "0" if piece.isdecimal() else "X" if piece[0].isupper() else "x"


def _characters(text: str) -> "Numbers":
    """Return the hashed sequences of two to four characters, each size with the same weight."""
    import numpy as np

    row = np.zeros(_CHAR_FEATURES)
    codes = np.frombuffer(text.encode("utf-32-le", errors="replace"), dtype="<u4").astype(np.uint64)
    for size in (2, 3, 4):
        if len(codes) < size:
            break
        hashes = np.full(len(codes) - size + 1, size, dtype=np.uint64)
        for at in range(size):
            hashes = hashes * np.uint64(1_000_003) + codes[at : len(codes) - size + 1 + at]
        hashes ^= hashes >> np.uint64(29)
        places = (hashes * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - 12)
        row += _unit(np.sqrt(np.bincount(places.astype(np.int64), minlength=_CHAR_FEATURES)))
    return _unit(row, 0.5)


def _word_row(words: Sequence[str]) -> "Numbers":
    """Return the hashed words and pairs of words."""
    import numpy as np

    row = np.zeros(_WORD_FEATURES)
    for first, second in zip(words, [*words[1:], ""], strict=True):
        row[zlib.crc32(first.encode(errors="replace")) % _WORD_FEATURES] += 1
        if second:
            row[zlib.crc32(f"{first} {second}".encode(errors="replace")) % _WORD_FEATURES] += 1
    return _unit(np.sqrt(row), 0.5)


def _unit(row: "Numbers", square: float = 1.0) -> "Numbers":
    """Return a row whose squares sum to `square`, or zeros."""
    import numpy as np

    length = float(np.linalg.norm(row))
    return np.multiply(row, float(np.sqrt(square)) / length) if length else row
