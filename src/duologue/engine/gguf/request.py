"""What llama.cpp is asked for: our settings under its names."""

import re
from collections.abc import Sequence
from typing import Any

from duologue.engine.base import Sampling
from duologue.engine.gguf.json_grammar import json_grammar
from duologue.errors import FormError

_SAMPLERS = ("penalties", "dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")  # llama.cpp's own order
_NO_BREAKER = ""  # llama.cpp refuses an empty list and leaves out an empty text
_RANDOM_SEED = 2**32 - 1  # llama.cpp's mark for drawing differently each time
_MAX_GRAMMAR_CHARS = 2**16
_ROOT = re.compile(r"^[ \t]*root\s*::=\s*\S", re.MULTILINE)
_FORCED = 1e6  # a logit bias no other token can reach


def completion_request(prompt_ids: Sequence[int], sampling: Sampling) -> dict[str, Any]:
    """Return the request for a reply.

    Raises:
        FormError: The grammar or the JSON schema cannot be followed.
    """
    whole = len(prompt_ids) + sampling.max_new_tokens
    request = {
        "prompt": list(prompt_ids),
        "max_tokens": sampling.max_new_tokens,
        "samplers": _SAMPLERS,
        "logit_bias": [[token, value] for token, value in sampling.logit_bias],
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": whole,
        "dry_multiplier": sampling.dry_multiplier,
        "dry_base": sampling.dry_base,
        "dry_allowed_length": sampling.dry_allowed_length_tokens,
        "dry_penalty_last_n": whole if sampling.dry_window_tokens < 0 else sampling.dry_window_tokens,
        "dry_sequence_breakers": list(sampling.dry_sequence_breakers) or [_NO_BREAKER],
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "typical_p": sampling.typical_p,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "xtc_probability": sampling.xtc_probability,
        "xtc_threshold": sampling.xtc_threshold,
        "mirostat": sampling.mirostat,
        "mirostat_tau": sampling.mirostat_tau,
        "mirostat_eta": sampling.mirostat_eta,
        "seed": sampling.seed % _RANDOM_SEED if sampling.seed >= 0 else _RANDOM_SEED,
        "stop": [text for text in sampling.stop if text],
        # A prompt continued from the cache is rounded differently (by up to 0.1 in a log-probability, because llama.cpp
        # rounds activations to 8 bits), and a fixed seed must repeat the same reply.
        "cache_prompt": sampling.seed < 0,
        "timings_per_token": True,
        "return_progress": True,  # so that a cancelled prompt can stop between two batches
    }
    if grammar := _grammar(sampling):
        request["grammar"] = grammar
    return request


def forced_request(prompt_ids: Sequence[int], token_id: int) -> dict[str, Any]:
    """Return the request that draws one token by force, with the likelihood it had before."""
    return {
        "prompt": list(prompt_ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "samplers": ["temperature"],
        "logit_bias": [[token_id, _FORCED]],
        "n_probs": 1,
    }


def _grammar(sampling: Sampling) -> str:
    if sampling.grammar and sampling.json_schema:
        raise FormError("a reply cannot follow both", where="grammar, json_schema", needed="one of the two")
    if len(sampling.grammar) > _MAX_GRAMMAR_CHARS:
        found = f"the grammar has {len(sampling.grammar)} characters"
        raise FormError(found, where="grammar", needed=f"at most {_MAX_GRAMMAR_CHARS}")
    if sampling.grammar and ("\0" in sampling.grammar or not _ROOT.search(sampling.grammar)):
        # llama.cpp would take it for no grammar at all, and let the reply say anything.
        raise FormError("the grammar has no rule 'root'", where="grammar", needed="root ::= ...")
    return json_grammar(sampling.json_schema) if sampling.json_schema else sampling.grammar
