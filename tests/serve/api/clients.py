"""What other programs send, written out from their sources' field names; the texts are our own."""

from typing import Any

# SillyTavern 1.18, Chat Completion with source "Custom (OpenAI-compatible)": unset settings are absent.
SILLYTAVERN_CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Write Lila's next reply in a chat between Lila and Sam."},
        {"role": "system", "content": "[Start a new chat]"},
        {"role": "assistant", "content": "Come in, the kettle is on."},
        {"role": "user", "content": "What are you reading?"},
        {"role": "system", "content": "Keep it short."},
    ],
    "model": "lila-quill",
    "temperature": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "top_p": 1,
    "max_tokens": 300,
    "stream": False,
    "stop": [],
    "logit_bias": {},
    "seed": 12,
    "n": 1,
    # What a person may add under "Include Body Parameters".
    "min_p": 0.05,
    "repetition_penalty": 1.05,
    "dry_multiplier": 0.8,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
}

# The same program asking for what the user might say next, in a chat that has had no answer to the greeting: the
# instruction is the last message, and a system message.
SILLYTAVERN_IMPERSONATE: dict[str, Any] = {
    **SILLYTAVERN_CHAT,
    "messages": [
        {"role": "system", "content": "Write Lila's next reply in a chat between Lila and Sam."},
        {"role": "system", "content": "[Start a new chat]"},
        {"role": "assistant", "content": "Come in, the kettle is on."},
        {"role": "system", "content": "Keep it short."},
        {"role": "system", "content": "[Write Sam's next message, in Sam's voice.]"},
    ],
}

_ST_SAMPLERS: dict[str, Any] = {
    "max_new_tokens": 250,
    "max_tokens": 250,
    "temperature": 1.1,
    "top_p": 0.95,
    "typical_p": 1,
    "typical": 1,
    "sampler_seed": -1,
    "min_p": 0.05,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "top_k": 40,
    "skew": 0,
    "min_length": 0,
    "min_tokens": 0,
    "num_beams": 1,
    "length_penalty": 1,
    "early_stopping": False,
    "add_bos_token": True,
    "smoothing_factor": 0,
    "smoothing_curve": 1,
    "dry_allowed_length": 2,
    "dry_multiplier": 0.8,
    "dry_base": 1.75,
    "dry_sequence_breakers": '["\\n", ":", "\\"", "*"]',
    "dry_penalty_last_n": 0,
    "max_tokens_second": 0,
    "stopping_strings": ["\nSam:", "\n***"],
    "stop": ["\nSam:", "\n***"],
    "truncation_length": 4096,
    "ban_eos_token": False,
    "skip_special_tokens": True,
    "include_reasoning": True,
    "top_a": 0,
    "tfs": 1,
    "mirostat_mode": 0,
    "mirostat_tau": 5,
    "mirostat_eta": 0.1,
    "custom_token_bans": "",
    "banned_strings": [],
    "sampler_priority": ["repetition_penalty", "dry", "temperature", "min_p"],
    "samplers": ["dry", "top_k", "min_p", "temperature"],
    "xtc_threshold": 0.1,
    "xtc_probability": 0,
    "nsigma": 0,
    "top_n_sigma": 0,
    "min_keep": 0,
    "adaptive_target": -0.01,
    "adaptive_decay": 0.9,
    "dynamic_temperature": False,
    "dynatemp_low": 1,
    "dynatemp_high": 1,
    "dynatemp_range": 0,
    "dynatemp_exponent": 1,
    "temperature_last": True,
    "guidance_scale": 1,
    "negative_prompt": "",
    "grammar_string": "",
    "json_schema": None,
    "logit_bias": {},
}

# SillyTavern, Text Completion with type "Text Generation WebUI", "vLLM" or "TabbyAPI".
SILLYTAVERN_TEXT: dict[str, Any] = {
    "prompt": "Lila keeps a lighthouse.\nSam: Hello there\nLila:",
    "model": "lila-quill",
    "stream": True,
    **_ST_SAMPLERS,
}

# SillyTavern, Text Completion with type "Generic": only OpenAI's own fields, at most four stop texts.
SILLYTAVERN_GENERIC: dict[str, Any] = {
    "prompt": "Lila keeps a lighthouse.\nSam: Hello there\nLila:",
    "model": "lila-quill",
    "stream": True,
    "max_tokens": 250,
    "temperature": 1.1,
    "top_p": 0.95,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "stop": ["\nSam:", "\n***"],
    "n": 1,
    "seed": -1,
    "logit_bias": {},
}

# Open WebUI: a chat, and one of the tasks it gives the same model in the background.
OPEN_WEBUI_CHAT: dict[str, Any] = {
    "stream": True,
    "model": "lila-quill",
    "messages": [{"role": "user", "content": "Hello there"}],
    "stream_options": {"include_usage": True},
}
OPEN_WEBUI_TITLE: dict[str, Any] = {
    "model": "lila-quill",
    "messages": [
        {"role": "user", "content": "### Task:\nGive a title of three to five words for this chat. Answer as JSON."}
    ],
    "stream": False,
    "max_completion_tokens": 1000,
}
OPEN_WEBUI_HEADERS = {
    "X-OpenWebUI-User-Id": "7b0c",
    "X-OpenWebUI-User-Name": "Somebody%20Else",
    "X-OpenWebUI-User-Email": "other@example.org",
    "X-OpenWebUI-User-Role": "admin",
    "X-OpenWebUI-Chat-Id": "c1",
}
