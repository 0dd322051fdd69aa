"""The sections of duologue.toml about visitors: what may be said, who may come in, how the server runs."""

from typing import Annotated, Literal

from pydantic import Field

from duologue.config.section import Auto, PositiveInt, Section


class GuardSection(Section):
    """`[guard]`: what may be said, how much of it, and what visitors are told."""

    rating: Literal["general", "mature", "adult"] = "general"
    """Content rating; anything but `general` needs the age gate (`[age]`) in front of the server."""
    max_input_chars: PositiveInt = 8000
    """Longest message of a user; an API client's system message and earlier replies may fill the context."""
    max_input_tokens: Auto | PositiveInt = "auto"
    """Longest message in the model's tokens; `auto` is half of the context."""
    requests_per_minute: PositiveInt = 30
    """Replies one visitor may ask for per minute, sustained."""
    burst: PositiveInt = 10
    """Replies one visitor may ask for at once."""
    page_requests_per_minute: PositiveInt = 1200
    """Requests of the page of any kind (searches, edits, imports) for one visitor; a quarter of that at once."""
    reply_tokens_per_minute: PositiveInt = 20_000
    """Tokens that may be generated for one visitor per minute, sustained."""
    reply_tokens_per_day: PositiveInt = 2_000_000
    """Tokens that may be generated for one visitor per day."""
    judge: str = ""
    """A model that is asked as well, such as `http://127.0.0.1:8000/v1#llama-guard-3`; empty asks none."""
    judge_format: Literal["llama-guard", "qwen3guard", "granite-guardian"] = "llama-guard"
    """How the judge is asked and answers."""
    discloses_ai: bool = True
    """Say on the page and at the start of a chat that the character is an AI (California SB 243)."""
    break_reminder_minutes: Annotated[int, Field(ge=0, le=1440)] = 180
    """Remind of a break after so much talk in one sitting; 0 never does (SB 243 asks for 3 hours with known minors)."""
    crisis_region: Literal["us", "gb", "de", "eu", "international"] = "international"
    """Whose helplines a message of someone in a crisis is answered with."""


class AgeSection(Section):
    """`[age]`: how visitors from other machines prove that they are adults; needed for any rating but `general`."""

    provider: Literal["none", "openid4vp"] = "none"
    """`openid4vp` asks a wallet for `age_over_18` (the EU age verification profile)."""
    trusted_issuers: tuple[str, ...] = ()
    """PEM files with the certificates of those whose proofs of age are believed."""
    valid_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Days until a proof must be renewed."""


class ServerSection(Section):
    """`[server]`: the web page and the API."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs an API key or accounts."""
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    """Port; 0 takes a free one."""
    public_url: str = ""
    """Address under which visitors reach the server, such as `https://lila.example`; empty is that of the request."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of reverse proxies whose `X-Forwarded-For` is believed."""
    frame_ancestors: tuple[str, ...] = ()
    """Sites that may show the page in a frame of theirs, such as `https://huggingface.co`; none by default, so that
    nobody can be made to click there unawares."""
    allowed_origins: tuple[str, ...] = ()
    """Sites whose pages may ask the API from a browser, such as `https://chat.example`, each request with its key;
    `*` is every site; empty for no site. The page's own routes answer no other site."""
    max_account_chars: PositiveInt = 100_000_000
    """Characters of text that one account may keep in its chats and memories with one character; no chat is begun,
    branched or imported and no memory is imported beyond it. What a visitor and the character say is always kept."""
    max_waiting: PositiveInt = 16
    """Requests that may wait for the model; more are answered with 503."""
    max_models: PositiveInt = 1
    """Models that may be in memory at the same time."""
    max_replies: Auto | PositiveInt = "auto"
    """Replies that one model makes at the same time: `auto` is 16 with the engine `remote`, whose server makes them
    together, and 1 with the others; the engine `gguf` makes as many as are asked for, each with memory of its own."""
    shutdown_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    """Time running replies have to end when the server is told to stop."""
