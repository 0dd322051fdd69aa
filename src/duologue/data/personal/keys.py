"""Keys, tokens and passwords: by the marks their makers gave them, and by the word before them."""

import re
from collections.abc import Iterator

# Prefixes as the makers document them for secret scanning.
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"sk-[A-Za-z0-9_-]{20,300}"  # OpenAI, Anthropic
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}"
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{32,300}"
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,255}"  # Stripe
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"  # SendGrid
    r"|eyJ[A-Za-z0-9_-]{8,4000}+\.eyJ[A-Za-z0-9_-]{8,4000}+\.[A-Za-z0-9_-]{8,4000}"  # JSON Web Token, RFC 7519
    r"|\d{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram bot
    r"|[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}"  # Discord bot
    r")"
)
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_NAMED_TOKEN = re.compile(
    r"\b(?:api[ _-]?key|secret[ _-]?key|access[ _-]?token|auth[ _-]?token|client[ _-]?secret|bearer|token|secret)"
    r"\b[\"']?[ \t]{0,3}(?:is[ \t]|[:=])?[ \t]{0,3}[\"'`]?(?P<value>[A-Za-z0-9_+/=.-]{16,512})",
    re.IGNORECASE,
)
_PASSWORD = re.compile(
    r"\b(?:pass(?:word|wd|wort|code|phrase)|pwd|kennwort|mot de passe|contrase\u00f1a)\b"
    r"[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"'`]?(?P<value>[^\s\"'`]{4,128})[\"'`]?(?P<rest>[^\n]{0,1})",
    re.IGNORECASE,
)
_MARKS_WITH_A_SIGN = ("sk-", "gh", "glpat-", "xox", "hf_", "npm_", "pypi-", "k_live", "k_test", "-----BEGIN", "AA")
_NAMES = ("pass", "pwd", "kennw", "contrase", "token", "secret", "key", "bearer", ":aa")
_LEAST_BOT_TOKEN = 24  # characters: a long word may be a token that nothing names
_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[A-Za-z]")


def may_hold_keys(text: str) -> bool:
    """Whether a text is worth a closer look."""
    if ("-" in text or "_" in text) and any(mark in text for mark in _MARKS_WITH_A_SIGN):
        return True
    if "AKIA" in text or "ASIA" in text or "AIza" in text or "SG." in text or "eyJ" in text or "Bearer" in text:
        return True
    return (":" in text or "=" in text) and _may_name_a_key(text)


def _may_name_a_key(text: str) -> bool:
    lowered = text.lower()
    return any(name in lowered for name in _NAMES) or max(map(len, text.split()), default=0) >= _LEAST_BOT_TOKEN


def find_keys(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of keys and tokens."""
    yield from _private_keys(text)
    for match in _TOKENS.finditer(text):
        yield match.span()
    for match in _NAMED_TOKEN.finditer(text):
        value = match["value"]
        if _DIGIT.search(value) and _LETTER.search(value):
            yield match.span("value")


def find_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of passwords, without the word that names them.

    A word of letters counts only where nothing follows on its line: `Password: please tell me` is a sentence.
    """
    for match in _PASSWORD.finditer(text):
        start = match.start("value")
        value = match["value"].rstrip(".,;!?)")
        is_masked = value.startswith("[") or not value.strip("*.-_\u2022")
        is_word = value.isalpha()
        if len(value) >= 4 and not is_masked and not (is_word and match["rest"].strip(" \t") == "" and match["rest"]):
            yield start, start + len(value)


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    begin = _PEM_BEGIN.search(text)
    while begin:
        end = _PEM_END.search(text, begin.end())
        if end is None:  # cut off: the rest is the key
            yield begin.start(), len(text)
            return
        yield begin.start(), end.end()
        begin = _PEM_BEGIN.search(text, end.end())
