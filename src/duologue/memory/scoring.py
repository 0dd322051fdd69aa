"""How well each line of a corpus answers a question: its words, its meaning, its neighbours, who said it and when.

BM25 after S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework" (2009). Scores of words and of meaning
are each brought to at most 1 and added: with this, adding an embedder never loses what words alone find for certain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from duologue.memory.corpus import Columns, Corpus, Floats
from duologue.memory.question import Question


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts how much; every number was chosen on dialogues made for it (docs/explanation/memory.md).

    Attributes:
        saturation: k1 of BM25: how soon more of the same word adds nothing.
        length: b of BM25: how much a long line pays for its length.
        meaning: Share of the embedder's score; the words have the rest.
        least_cosine: Of a line that shares no word with the question, nor do its neighbours; below, it is no answer.
        near_words: Share of the words of the line with its two neighbours, against those of the line alone.
        near_words_alone: The same without an embedder.
        near_meaning: Share of the neighbours' meaning.
        answer: How far, after a question, only that question counts as neighbour.
        thin: What a line without telling words loses; `Aha!` between two answers is none.
        thin_words: Telling words after which most of that is regained.
        question: What a line loses that only asks.
        speaker: For a line by whom the question names.
        when: For a line that tells a time, when a time is asked for.
        days: For a line said in the days the question names.
        recency: For the newest line against the oldest; between equals the newer wins.
    """

    saturation: float = 1.2
    length: float = 0.5
    meaning: float = 0.5
    least_cosine: float = 0.15
    near_words: float = 0.5
    near_words_alone: float = 0.4
    near_meaning: float = 0.4
    answer: float = 0.5
    thin: float = 0.5
    thin_words: float = 4.0
    question: float = 0.1
    speaker: float = 0.15
    when: float = 0.05
    days: float = 0.1
    recency: float = 0.005


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Scores:
    """One score per row of a corpus, and what it is made of.

    Attributes:
        total: 0 for what shares nothing with the question, -1 for removed lines.
        words: What the line's words and those around it add.
        meaning: What its meaning and that around it adds; the rest of the total is who said it, when, and how.
    """

    total: Floats
    words: Floats
    meaning: Floats


def score_lines(
    corpus: Corpus, question: Question, *, vector: Floats | None = None, weights: Weights = WEIGHTS
) -> Scores:
    """Return a score for every row of the corpus.

    Args:
        corpus: The lines of one scope.
        question: What is asked.
        vector: Of `question.meaning`, length 1, shape (dim,); None for words alone.
        weights: What counts how much.
    """
    columns = corpus.columns()
    if not len(columns.ids):
        return Scores(*(np.zeros(0, np.float32) for _ in range(3)))
    words = _words(corpus, columns, question, weights, is_alone=vector is None or columns.vectors is None)
    meaning = np.zeros(len(words), np.float32)
    is_hit = words > 0
    if vector is not None and columns.vectors is not None:
        cosine = columns.vectors @ vector
        is_hit |= cosine >= weights.least_cosine
        words *= 1 - weights.meaning
        meaning = weights.meaning * _meaning(columns, cosine, weights)
    telling = 1 - weights.thin * np.exp(-columns.lengths / np.float32(weights.thin_words))
    words *= telling
    meaning *= telling
    scores = words + meaning + _extras(corpus, columns, question, weights)
    np.maximum(scores, 1e-4, out=scores)
    scores[~is_hit] = 0
    scores[~columns.is_live] = -1
    return Scores(scores, words, meaning)


def _words(corpus: Corpus, columns: Columns, question: Question, weights: Weights, *, is_alone: bool) -> Floats:
    """Return BM25 of the lines and of their windows of three, weighed and brought to at most 1.

    The names of speakers are no search words: a name stands where it is called out, so in the other one's lines.
    """
    lengths = np.where(columns.is_live, columns.lengths, np.float32(0))
    near_lengths = lengths + shifted(lengths, columns.previous) + shifted(lengths, columns.next)
    near_lengths[~columns.is_live] = 0
    num_live = max(1, int(columns.is_live.sum()))
    own_norm, near_norm = _norm(lengths, num_live, weights), _norm(near_lengths, num_live, weights)
    own, near = np.zeros(len(lengths), np.float32), np.zeros(len(lengths), np.float32)
    for stem in question.stems:
        rows, counts = corpus.posting(stem)
        is_live = columns.is_live[rows]
        rows, counts = rows[is_live], counts[is_live]
        if not len(rows):
            continue
        num_with, num_lines = corpus.num_with(stem, len(rows), num_live)
        rarity = np.float32(np.log1p((num_lines - num_with + 0.5) / (num_with + 0.5)) * (weights.saturation + 1))
        own[rows] += rarity * counts / (counts + own_norm[rows])
        around, sums = _around(columns, rows, counts)
        near[around] += rarity * sums / (sums + near_norm[around])
    share = np.float32(weights.near_words_alone if is_alone else weights.near_words)
    return (1 - share) * _to_one(own) + share * _to_one(near)


def _around(columns: Columns, rows: NDArray[np.int64], counts: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the rows whose window of three holds a word, and how often it does."""
    before, after = columns.previous[rows], columns.next[rows]
    has_before, has_after = before >= 0, after >= 0
    all_rows = np.concatenate([rows, before[has_before], after[has_after]])
    all_counts = np.concatenate([counts, counts[has_before], counts[has_after]])
    if len(all_rows) * 16 > len(columns.ids):  # summing over every row is quicker than sorting
        sums = np.bincount(all_rows, weights=all_counts, minlength=len(columns.ids)).astype(np.float32)
        around = np.flatnonzero(sums)
        return around, sums[around]
    around, places = np.unique(all_rows, return_inverse=True)
    return around, np.bincount(places, weights=all_counts).astype(np.float32)


def _norm(lengths: Floats, num_live: int, weights: Weights) -> Floats:
    average = max(1.0, float(lengths.sum(dtype=np.float64)) / num_live)
    return weights.saturation * (1 - weights.length + weights.length * lengths / np.float32(average))


def _meaning(columns: Columns, cosine: Floats, weights: Weights) -> Floats:
    """Return cosines, those of the neighbours mixed in, brought to at most 1."""
    cosine[~columns.is_live] = 0
    near = _to_one(np.maximum(cosine, 0, out=cosine))
    before, after = shifted(near, columns.previous), shifted(near, columns.next)
    num_sides = (columns.previous >= 0).astype(np.float32) + (columns.next >= 0).astype(np.float32)
    around = (before + after) / np.maximum(num_sides, np.float32(1))
    answers = shifted(columns.is_question.astype(np.float32), columns.previous)
    around += np.float32(weights.answer) * answers * (before - around)
    share = np.where(num_sides > 0, np.float32(weights.near_meaning), np.float32(0))
    mixed: Floats = (near + share * (around - near)).astype(np.float32, copy=False)
    return mixed


def _extras(corpus: Corpus, columns: Columns, question: Question, weights: Weights) -> Floats:
    extras: Floats = np.float32(-weights.question) * columns.is_question
    for name in question.names:
        extras += np.float32(weights.speaker) * (columns.speakers // 2 == corpus.names[name])
    if not question.names and question.speaker is not None:
        extras += np.float32(weights.speaker) * (columns.speakers % 2 == (question.speaker == "user"))
    if question.asks_when:
        extras += np.float32(weights.when) * columns.has_time
    if question.days:
        is_inside = np.zeros(len(extras), np.bool_)
        for first, last in question.days:
            is_inside |= (columns.days >= first) & (columns.days < last)
        extras += np.float32(weights.days) * is_inside
    return extras + np.float32(weights.recency) * columns.recency


def shifted(values: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the value of another row for each row, 0 where that row is -1."""
    return np.append(values, np.zeros(1, values.dtype))[rows]


def _to_one(values: Floats) -> Floats:
    highest = float(values.max(initial=0.0))
    scaled: Floats = values / np.float32(highest) if highest > 0 else values
    return scaled
