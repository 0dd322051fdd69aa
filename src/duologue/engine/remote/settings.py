"""Sampler settings under the names that servers know, and what each kind of server is known not to honour.

Names and limits as the servers' sources and documents have them: vLLM (`SamplingParams`), SGLang, llama.cpp's server,
TabbyAPI (`common/sampling.py`), Ollama and OpenAI (their lists of supported fields).
"""

import json
from typing import Any, Literal
from urllib.parse import urlsplit

from duologue.engine.active import PENALTIES, active_settings
from duologue.engine.base import Sampling

Kind = Literal["vllm", "sglang", "llamacpp", "tabbyapi", "ollama", "openai", "unknown"]

CONTINUING: frozenset[Kind] = frozenset({"vllm", "sglang", "llamacpp", "tabbyapi"})  # go on with an open reply
_OWNERS: dict[str, Kind] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "tabbyapi": "tabbyapi",
    "library": "ollama",
}
_ROLEPLAY = ("typical_p", "dry_multiplier", "xtc_probability", "mirostat")
_MISSING: dict[Kind, tuple[str, ...]] = {
    "vllm": ("grammar", *_ROLEPLAY),
    "sglang": ("grammar", *_ROLEPLAY),
    "llamacpp": (),
    "tabbyapi": ("grammar", "dry_multiplier", "mirostat"),  # it takes the samplers and does nothing with them
    "ollama": ("grammar", "top_k", "min_p", "repetition_penalty", "logit_bias", *_ROLEPLAY),
    "openai": ("grammar", "top_k", "min_p", "repetition_penalty", *_ROLEPLAY),
    "unknown": (),
}
_MAX_OPENAI_STOPS = 4  # with more it refuses the request; the reader of the stream knows them all


def server_kind(url: str, entry: dict[str, Any]) -> Kind:
    """Return what a server is, by its address and its entry of a model."""
    if (urlsplit(url).hostname or "").endswith("api.openai.com"):
        return "openai"
    return _OWNERS.get(str(entry.get("owned_by", "")).lower(), "unknown")


def unsupported(kind: Kind, sampling: Sampling) -> tuple[str, ...]:
    """Return the settings that do something elsewhere and nothing on such a server."""
    missing = set(_MISSING[kind])
    if kind == "llamacpp" and sampling.mirostat:
        missing |= set(PENALTIES)
    return tuple(name for name in active_settings(sampling) if name in missing)


def sampler_fields(kind: Kind, sampling: Sampling, *, context_tokens: int) -> dict[str, Any]:
    """Return the fields of a request that say how tokens are drawn; those outside OpenAI's API only where they act."""
    fields: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    stop = [text for text in sampling.stop if text]
    if stop:
        fields["stop"] = stop[:_MAX_OPENAI_STOPS] if kind == "openai" else stop
    missing = set(_MISSING[kind])
    for name in active_settings(sampling):
        if name not in missing:
            fields |= _fields(name, sampling, context_tokens=context_tokens)
    if kind not in ("tabbyapi", "unknown"):
        fields.pop("json_schema", None)
    return fields


def _fields(name: str, sampling: Sampling, *, context_tokens: int) -> dict[str, Any]:
    """Return one sampler's fields, under each name that a server may know it by."""
    if name == "repetition_penalty":
        value = sampling.repetition_penalty
        return {"repetition_penalty": value, "repeat_penalty": value}  # the second is llama.cpp's
    if name == "json_schema":
        schema = json.loads(sampling.json_schema)
        response_format = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}
        return {"response_format": response_format, "json_schema": schema}  # the second is TabbyAPI's
    if name == "logit_bias":
        return {"logit_bias": {str(token): value for token, value in sampling.logit_bias}}
    if name == "xtc_probability":
        return {"xtc_probability": sampling.xtc_probability, "xtc_threshold": sampling.xtc_threshold}
    if name == "mirostat":
        version = sampling.mirostat
        settings = {"mirostat_tau": sampling.mirostat_tau, "mirostat_eta": sampling.mirostat_eta}
        return {"mirostat": version, "mirostat_mode": version, **settings}  # the second is text-generation-webui's
    if name == "dry_multiplier":
        window = sampling.dry_window_tokens
        return {
            "dry_multiplier": sampling.dry_multiplier,
            "dry_base": sampling.dry_base,
            "dry_allowed_length": sampling.dry_allowed_length_tokens,
            "dry_penalty_last_n": context_tokens if window < 0 else window,  # not every server takes -1
            "dry_sequence_breakers": list(sampling.dry_sequence_breakers) or [""],  # llama.cpp refuses an empty list
        }
    return {name: getattr(sampling, name)}
