"""Logits to the next token: every sampler as a plain function on one vector, and their order.

The order is llama.cpp's (`common/sampling.cpp`), so that settings mean the same on both engines: bias, penalties, DRY,
top-k, typical, top-p, min-p, XTC, temperature; mirostat stands in the place of the cuts. Each function returns a new
vector in which a dropped token has the logit -inf; at least one token is always left.

Shapes: V = size of the vocabulary.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from duologue.engine.base import Sampling
from duologue.engine.hf.breakers import Breakers, History
from duologue.errors import EngineError

_LARGEST_EXPONENT = 88.7228391  # natural logarithm of the largest float32
_MIROSTAT_TOKENS = 100  # most likely tokens from which version 1 estimates Zipf's exponent (Basu 2021)
_FIRST_SORTED = 256  # top-p seldom keeps more; sorting a whole vocabulary takes 100 times as long


def biased(logits_V: torch.Tensor, bias: Sequence[tuple[int, float]]) -> torch.Tensor:
    """Add to the logits of single tokens."""
    if not bias:
        return logits_V
    known = [(token, value) for token, value in bias if 0 <= token < logits_V.numel()]
    places = torch.tensor([token for token, _ in known], dtype=torch.long, device=logits_V.device)
    values = torch.tensor([value for _, value in known], dtype=logits_V.dtype, device=logits_V.device)
    return logits_V.index_add(0, places, values)


def penalised(
    logits_V: torch.Tensor, counts_V: torch.Tensor, *, repetition: float, presence: float, frequency: float
) -> torch.Tensor:
    """Make what was said less likely.

    Args:
        logits_V: Logits.
        counts_V: How often each token was said.
        repetition: Positive logits are divided by it and negative ones multiplied (Keskar 2019).
        presence: Taken from the logit of a token that was said.
        frequency: Taken for each time it was said.
    """
    if repetition == 1 and not presence and not frequency:
        return logits_V
    scaled_V = torch.where(logits_V > 0, logits_V / repetition, logits_V * repetition)
    return torch.where(counts_V > 0, scaled_V - presence - frequency * counts_V, logits_V)


def repeat_lengths(history: History, breakers: Breakers, *, allowed_length: int, longest: int) -> dict[int, int]:
    """Return the tokens that would go on with a sequence said before, each with the length of that sequence so far.

    Args:
        history: What was said, oldest first.
        breakers: Sequences that a repeated one does not reach across.
        allowed_length: Shorter sequences are left out.
        longest: Longer ones count as this long.
    """
    limit = min(breakers.length_since(history), longest)
    if len(history) <= allowed_length or limit < allowed_length:
        return {}
    ends = np.flatnonzero(history[:-1] == history[-1])  # where the last token stood before
    lengths: dict[int, int] = {}
    length = 1
    while len(ends):
        if length >= allowed_length:
            lengths |= dict.fromkeys(history[ends + 1].tolist(), length)
        if length >= limit:
            break
        ends = ends[ends >= length]
        ends = ends[history[ends - length] == history[-1 - length]]
        length += 1
    return {token: length for token, length in lengths.items() if not breakers.is_breaker(token)}


def without_repeats(logits_V: torch.Tensor, history: History, breakers: Breakers, sampling: Sampling) -> torch.Tensor:
    """Make tokens that go on with a repeated sequence less likely: DRY.

    The penalty is multiplier * base ** (length - allowed length), where the length is that of the sequence before the
    token (p-e-w, https://github.com/oobabooga/text-generation-webui/pull/5677).
    """
    if not sampling.dry_multiplier or not sampling.dry_window_tokens:
        return logits_V
    window = history if sampling.dry_window_tokens < 0 else history[-sampling.dry_window_tokens :]
    allowed, base = sampling.dry_allowed_length_tokens, sampling.dry_base
    most = int(_LARGEST_EXPONENT / math.log(base)) if base > 1.000001 else 0  # more makes no difference in float32
    lengths = repeat_lengths(window, breakers, allowed_length=allowed, longest=allowed + most)
    bias = [(token, -sampling.dry_multiplier * base ** (length - allowed)) for token, length in lengths.items()]
    return biased(logits_V, bias)


def keep_top_k(logits_V: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k most likely tokens; 0 keeps all."""
    return _kept(logits_V, logits_V.topk(k).indices) if 0 < k < logits_V.numel() else logits_V


def keep_typical(logits_V: torch.Tensor, mass: float) -> torch.Tensor:
    """Keep the tokens whose surprise is nearest to the expected one, up to a probability mass (Meister 2022)."""
    if mass >= 1:
        return logits_V
    logprobs_V = logits_V.log_softmax(0)
    probs_V = logprobs_V.exp()
    entropy = -(probs_V * logprobs_V.nan_to_num(neginf=0.0)).sum()
    order = (-logprobs_V - entropy).abs().argsort(stable=True)
    above = probs_V[order].cumsum(0) > mass
    return _kept(logits_V, order[: _first(above) + 1])


def keep_top_p(logits_V: torch.Tensor, mass: float) -> torch.Tensor:
    """Keep the smallest set of most likely tokens with at least this probability mass (Holtzman 2019)."""
    if mass >= 1:
        return logits_V
    probs_V = logits_V.softmax(0)
    values, order = probs_V.topk(min(_FIRST_SORTED, probs_V.numel()))
    reached = values.cumsum(0) >= mass
    if not bool(reached[-1]):
        values, order = probs_V.sort(descending=True)
        reached = values.cumsum(0) >= mass
    return _kept(logits_V, order[: _first(reached) + 1])


def keep_min_p(logits_V: torch.Tensor, share: float) -> torch.Tensor:
    """Keep tokens with at least this share of the best token's probability (Nguyen 2024)."""
    if share <= 0:
        return logits_V
    return logits_V.masked_fill(logits_V < logits_V.max() + math.log(share), -math.inf)


def keep_top_p_then_min_p(logits_V: torch.Tensor, mass: float, share: float) -> torch.Tensor:
    """Apply both, but look at top-p only where it can drop anything that min-p keeps.

    Where the unlikely tokens are many, top-p would sort them all for min-p to drop.
    """
    left_V = keep_min_p(logits_V, share)
    if mass >= 1 or (share > 0 and float(logits_V.softmax(0)[left_V.isfinite()].sum()) < mass):
        return left_V
    return keep_min_p(keep_top_p(logits_V, mass), share)


def without_top_choices(logits_V: torch.Tensor, threshold: float) -> torch.Tensor:
    """Drop the tokens that have at least this probability, all but the least likely of them: XTC.

    After p-e-w, https://github.com/oobabooga/text-generation-webui/pull/6335.
    """
    probs_V = logits_V.softmax(0)
    choices = ((probs_V >= threshold) & logits_V.isfinite()).nonzero().squeeze(1)
    if choices.numel() < 2:
        return logits_V
    least = choices[probs_V[choices].argmin()]
    return logits_V.index_fill(0, choices[choices != least], -math.inf)


def tempered(logits_V: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divide by the temperature; 0 keeps the most likely token only."""
    return logits_V / temperature if temperature > 0 else keep_top_k(logits_V, 1)


def keep_zipf(logits_V: torch.Tensor, surprise: float) -> torch.Tensor:
    """Keep as many tokens as give this surprise in bits under Zipf's law: mirostat 1 (Basu 2021, algorithm 1)."""
    size = min(_MIROSTAT_TOKENS, int(logits_V.isfinite().sum()))
    if size < 2:
        return logits_V
    logprobs = logits_V.log_softmax(0).topk(size).values.double().cpu().numpy()
    steps = np.log(np.arange(2, size + 1) / np.arange(1, size))
    exponent = float((steps * (logprobs[:-1] - logprobs[1:])).sum() / (steps**2).sum())
    excess = exponent - 1
    if abs(excess) < 1e-6 or exponent <= 1e-6:
        return logits_V  # the formula has no value there
    log2_ratio = surprise + math.log2(excess / (1 - logits_V.numel() ** -excess))
    return keep_top_k(logits_V, max(int(2.0 ** min(log2_ratio / exponent, 62.0)), 1))


def keep_unsurprising(logits_V: torch.Tensor, surprise: float) -> torch.Tensor:
    """Keep tokens with at most this surprise in bits, at least the most likely one: mirostat 2 (Basu 2021)."""
    logprobs_V = logits_V.log_softmax(0)
    least = min(-surprise * math.log(2), float(logprobs_V.max()))
    return logits_V.masked_fill(logprobs_V < least, -math.inf)


class Draw:
    """Draws one token after another by the sampling settings.

    Args:
        sampling: The settings.
        prompt_ids: What was said before the reply.
        breakers: `Sampling.dry_sequence_breakers` as tokens; only DRY asks for them.
        device: Where the logits are.
    """

    def __init__(
        self, sampling: Sampling, prompt_ids: Sequence[int], *, breakers: Breakers, device: torch.device
    ) -> None:
        """Start with the prompt as history."""
        self._sampling = sampling
        self._breakers = breakers
        self._history = np.empty(len(prompt_ids) + sampling.max_new_tokens + 1, dtype=np.int64)
        self._history[: len(prompt_ids)] = prompt_ids
        self._num_said = len(prompt_ids)
        self._counts_V: torch.Tensor | None = None
        self._surprise = 2 * sampling.mirostat_tau  # mirostat's only state, in bits
        self._random = torch.Generator(device=device)
        if sampling.seed >= 0:
            self._random.manual_seed(sampling.seed % 2**63)
        else:
            self._random.seed()

    def next(self, logits_V: torch.Tensor) -> int:
        """Return the next token and remember it.

        Raises:
            EngineError: A logit is not a number.
        """
        if bool(logits_V.isnan().any()):
            raise EngineError(
                "the model's answer is not a number",
                needed="finite logits",
                action="Weights may be damaged, or float16 too narrow: set model.compute_dtype to float32.",
            )
        left_V = self.cut(logits_V)
        if self._sampling.temperature > 0:
            # One random number for the running sum: torch.multinomial draws one for every token of the vocabulary.
            probs_V = left_V.softmax(0)
            sums_V = probs_V.double().cumsum(0)
            token = int(torch.searchsorted(sums_V, self._chance() * float(sums_V[-1]), right=True))
            if self._sampling.mirostat:
                observed = -math.log2(float(probs_V[token]))
                self._surprise -= self._sampling.mirostat_eta * (observed - self._sampling.mirostat_tau)
        else:
            token = int(left_V.argmax())
        self._remember(token)
        return token

    def cut(self, logits_V: torch.Tensor) -> torch.Tensor:
        """Return the logits that the next token is drawn from."""
        sampling = self._sampling
        out_V = penalised(
            biased(logits_V, sampling.logit_bias),
            self._counts(logits_V),
            repetition=sampling.repetition_penalty,
            presence=sampling.presence_penalty,
            frequency=sampling.frequency_penalty,
        )
        out_V = without_repeats(out_V, self._history[: self._num_said], self._breakers, sampling)
        if sampling.mirostat:
            out_V = tempered(out_V, sampling.temperature)
            keep = keep_zipf if sampling.mirostat == 1 else keep_unsurprising
            return keep(out_V, self._surprise)
        out_V = keep_top_k(out_V, sampling.top_k)
        out_V = keep_typical(out_V, sampling.typical_p)
        out_V = keep_top_p_then_min_p(out_V, sampling.top_p, sampling.min_p)
        if sampling.xtc_probability and self._chance() <= sampling.xtc_probability:
            out_V = without_top_choices(out_V, sampling.xtc_threshold)
        return tempered(out_V, sampling.temperature)

    def _counts(self, logits_V: torch.Tensor) -> torch.Tensor:
        if self._counts_V is None:
            said = torch.from_numpy(self._history[: self._num_said]).to(logits_V.device)
            self._counts_V = torch.bincount(said, minlength=logits_V.numel())
        return self._counts_V

    def _chance(self) -> float:
        return float(torch.rand((), generator=self._random, device=self._random.device))  # of 24 bits, so never 1

    def _remember(self, token: int) -> None:
        self._history[self._num_said] = token
        self._num_said += 1
        if self._counts_V is not None:
            self._counts_V[token] += 1


def _kept(logits_V: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    out_V = torch.full_like(logits_V, -math.inf)
    out_V[places] = logits_V[places]
    return out_V


def _first(flags: torch.Tensor) -> int:
    """Return the place of the first True, or the last place."""
    return int(flags.int().argmax()) if bool(flags[-1]) else flags.numel() - 1
