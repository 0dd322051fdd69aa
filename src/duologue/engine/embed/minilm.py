"""all-MiniLM-L6-v2 in plain numpy: six layers of BERT, the mean of the last states, length 1.

N. Reimers and I. Gurevych, "Sentence-BERT" (2019); W. Wang et al., "MiniLM" (2020). Equal to transformers' BertModel
on the same weights to about 1e-6. Shape letters: B texts, T tokens, P = B*T, H hidden numbers, N heads, D numbers
per head.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duologue.engine.embed.blas import use_one_thread
from duologue.engine.embed.opening import VOCABULARY_SHA256, WEIGHTS_SHA256, check_file

MAX_TOKENS = 256
_MAX_BATCH_TOKENS = 2048  # of one pass: its largest array then stays within 12 MB
_NUM_HEADS = 12
_NORM_EPSILON = np.float32(1e-12)
_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Layer:
    in_weight: _Array  # query, key and value side by side; the query is scaled already
    in_bias: _Array
    out_weight: _Array
    out_bias: _Array
    out_norm: tuple[_Array, _Array]
    up_weight: _Array
    up_bias: _Array
    down_weight: _Array
    down_bias: _Array
    down_norm: tuple[_Array, _Array]


class MiniLM:
    """An `Embedder`; its weights are read, and checked, with the first text."""

    name = "all-MiniLM-L6-v2"
    dim = 384
    sha256 = WEIGHTS_SHA256

    def __init__(self, folder: Path) -> None:
        """Keep where `model.safetensors` and `tokenizer.json` lie."""
        self._folder = folder
        self._lock = threading.Lock()
        self._weights: _Weights | None = None

    def embed(self, texts: Sequence[str]) -> _Array:
        """Return one row of length 1 per text, shape (len(texts), 384); what follows the 256th token is not read.

        Raises:
            EngineError: The files are not the expected ones.
        """
        vectors_BH = np.empty((len(texts), self.dim), np.float32)
        if not texts:
            return vectors_BH
        weights = self._load()
        ids = [encoding.ids for encoding in weights.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))  # little padding within a batch
        at = 0
        while at < len(order):
            end = at + 1
            while end < len(order) and (end + 1 - at) * len(ids[order[end]]) <= _MAX_BATCH_TOKENS:
                end += 1
            batch = order[at:end]
            vectors_BH[batch] = weights.forward([ids[number] for number in batch])
            at = end
        return vectors_BH

    def count_tokens(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return the tokens of the texts together, and how many texts have more than 256.

        Raises:
            EngineError: The files are not the expected ones.
        """
        found = self._load().tokenizer.encode_batch(list(texts))
        parts = [part for each in found for part in (each, *each.overflowing)]
        num_tokens = sum(part.special_tokens_mask.count(0) for part in parts)
        return num_tokens, sum(bool(each.overflowing) for each in found)

    def _load(self) -> "_Weights":
        with self._lock:
            if self._weights is None:
                self._weights = _Weights(self._folder)
            return self._weights


class _Weights:
    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        use_one_thread()
        check_file(folder / "tokenizer.json", sha256=VOCABULARY_SHA256)
        check_file(folder / "model.safetensors", sha256=WEIGHTS_SHA256)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        tensors = load_file(folder / "model.safetensors")
        self._words = tensors["embeddings.word_embeddings.weight"]
        # every text is one segment, whose embedding is the same for all tokens
        kind = tensors["embeddings.token_type_embeddings.weight"][0]
        self._places = tensors["embeddings.position_embeddings.weight"][:MAX_TOKENS] + kind
        self._norm = _norm_of(tensors, "embeddings.LayerNorm")
        self._layers = [_layer(tensors, f"encoder.layer.{number}") for number in range(6)]

    def forward(self, ids: Sequence[Sequence[int]]) -> _Array:
        lengths = np.array([len(row) for row in ids])
        longest = int(lengths.max())
        ids_BT = np.zeros((len(ids), longest), np.int64)
        for row, tokens in zip(ids_BT, ids, strict=True):
            row[: len(tokens)] = tokens
        is_token_BT = np.arange(longest) < lengths[:, None]
        bias_BT = None if is_token_BT.all() else np.where(is_token_BT, np.float32(0), np.float32(-1e9))
        states_BTH = self._words[ids_BT]
        states_BTH += self._places[:longest]
        states_PH = states_BTH.reshape(-1, states_BTH.shape[-1])
        _normalise(states_PH, *self._norm)
        for layer in self._layers:
            states_PH = _forward_layer(states_PH, layer, bias_BT=bias_BT, shape=ids_BT.shape)
        states_BTH = states_PH.reshape(*ids_BT.shape, -1)
        mean_BH: _Array = np.einsum("bt,bth->bh", is_token_BT.astype(np.float32), states_BTH, optimize=False)
        mean_BH /= np.linalg.norm(mean_BH, axis=1, keepdims=True)
        return mean_BH


def _forward_layer(states_PH: _Array, layer: _Layer, *, bias_BT: _Array | None, shape: tuple[int, ...]) -> _Array:
    size, length = shape
    width = states_PH.shape[1]
    mixed = states_PH @ layer.in_weight
    mixed += layer.in_bias
    heads = mixed.reshape(size, length, 3, _NUM_HEADS, width // _NUM_HEADS)
    query_BNTD, key_BNDT, value_BNTD = (
        heads[:, :, 0].transpose(0, 2, 1, 3),
        heads[:, :, 1].transpose(0, 2, 3, 1),
        heads[:, :, 2].transpose(0, 2, 1, 3),
    )
    scores_BNTT = query_BNTD @ key_BNDT
    if bias_BT is not None:
        scores_BNTT += bias_BT[:, None, None, :]
    scores_BNTT -= scores_BNTT.max(axis=-1, keepdims=True)
    np.exp(scores_BNTT, out=scores_BNTT)
    scores_BNTT /= scores_BNTT.sum(axis=-1, keepdims=True)
    joined_PH = (scores_BNTT @ value_BNTD).transpose(0, 2, 1, 3).reshape(size * length, width)
    attended_PH = joined_PH @ layer.out_weight
    attended_PH += layer.out_bias
    attended_PH += states_PH
    _normalise(attended_PH, *layer.out_norm)
    wide = attended_PH @ layer.up_weight
    wide += layer.up_bias
    _gelu(wide)
    result_PH: _Array = wide @ layer.down_weight
    result_PH += layer.down_bias
    result_PH += attended_PH
    _normalise(result_PH, *layer.down_norm)
    return result_PH


def _normalise(states_PH: _Array, scale: _Array, shift: _Array) -> None:
    """Layer normalisation, in place."""
    states_PH -= states_PH.mean(axis=1, keepdims=True)
    variance = np.einsum("ph,ph->p", states_PH, states_PH, optimize=False)[:, None] / np.float32(states_PH.shape[1])
    states_PH *= scale / np.sqrt(variance + _NORM_EPSILON)
    states_PH += shift


def _gelu(wide: _Array) -> None:
    """X * Phi(x), in place; the error function after Abramowitz and Stegun 7.1.26 (off by at most 1.5e-7)."""
    sign = np.signbit(wide)
    x = np.abs(wide)
    x *= np.float32(0.7071067811865476)
    t = x * np.float32(0.3275911)
    t += np.float32(1)
    np.reciprocal(t, out=t)
    series = t * np.float32(1.061405429)
    for number in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(number)
        series *= t
    np.multiply(x, x, out=x)
    np.negative(x, out=x)
    np.exp(x, out=x)
    series *= x  # 1 - erf(|x|/sqrt 2) = 2 * (1 - Phi(|x|))
    series *= np.float32(0.5)
    np.subtract(np.float32(1), series, out=series, where=~sign)
    wide *= series


def _layer(tensors: dict[str, _Array], name: str) -> _Layer:
    def linear(part: str) -> tuple[_Array, _Array]:
        return np.ascontiguousarray(tensors[f"{name}.{part}.weight"].T), tensors[f"{name}.{part}.bias"]

    triple = [linear(f"attention.self.{part}") for part in ("query", "key", "value")]
    scale = np.float32((triple[0][0].shape[1] / _NUM_HEADS) ** -0.5)
    triple[0] = (triple[0][0] * scale, triple[0][1] * scale)
    return _Layer(
        np.ascontiguousarray(np.concatenate([weight for weight, _ in triple], axis=1)),
        np.concatenate([bias for _, bias in triple]),
        *linear("attention.output.dense"),
        _norm_of(tensors, f"{name}.attention.output.LayerNorm"),
        *linear("intermediate.dense"),
        *linear("output.dense"),
        _norm_of(tensors, f"{name}.output.LayerNorm"),
    )


def _norm_of(tensors: dict[str, _Array], name: str) -> tuple[_Array, _Array]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]
