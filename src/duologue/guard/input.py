"""A person's message to the text to use: NFC, plain newlines, nothing hidden in it, a bounded length.

NFC and not NFKC: NFC changes how a character is written, NFKC which one it is. NFKC would turn x² into x2 and one sign
of blessing (U+FDFA) into eighteen letters, and what a person typed is what is stored and shown. The content policy
reads a folded copy (`guard.fold`), so nothing hides there. Lengths are capped after normalising, as NFC can make a text
three times as long.
"""

import re
import unicodedata
from dataclasses import dataclass

from duologue.errors import GuardError

WHERE = "message"
MAX_MARKS = 8  # marks on one letter; Vietnamese, Hebrew, Thai and Tibetan need fewer
_NFC_GROWS_AT_MOST = 3  # one code point to three (Unicode, UAX #15)
_NFC_SHRINKS_AT_MOST = 4  # four code points to one: base and three marks (Unicode, UAX #15)
_FREE_INVISIBLE = 32  # joiners of emoji, Persian and Indic text stay far below
_INVISIBLE_FRACTION = 0.25
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks that show nothing
_OVERRIDE = re.compile("[\u202a\u202b\u202d\u202e]")  # embeddings and overrides; Unicode advises isolates instead
_ISOLATE = re.compile("[\u2066-\u2069]")
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d"
_TWO_SELECTORS = re.compile(f"[{_SELECTORS}]{{2}}")
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f")  # England, Scotland, …
_TAG = re.compile("[\U000e0000-\U000e007f]")


@dataclass(frozen=True, slots=True)
class InputValidator:
    """Checks one message.

    Attributes:
        max_chars: Longest message in characters (code points) after NFC.
    """

    max_chars: int

    def validate(self, text: str) -> str:
        """Return the text to use: normalised to NFC, Windows line breaks turned into plain ones.

        Raises:
            GuardError: With reason `empty`, `too_long`, `control_characters`, `hidden_text` or `invalid_unicode`.
        """
        # Before normalising: sorting a long run of combining marks takes quadratic time.
        if len(text) > self.max_chars * _NFC_SHRINKS_AT_MOST:
            raise self._too_long(len(text))
        _refuse(_SURROGATE, text, _HALF)
        text = text.replace("\r\n", "\n")
        if not text.isascii():
            _refuse_floods(text)
            text = unicodedata.normalize("NFC", text)
        if len(text) > self.max_chars:
            raise self._too_long(len(text))
        _refuse(_CONTROL, text, _CONTROL_FAULT)
        num_invisible = 0 if text.isascii() else _check_invisible(text)
        num_visible = len(text) - num_invisible - sum(map(str.isspace, text))
        if num_visible == 0:
            raise GuardError("the message is empty", reason="empty", where=WHERE, action="Write something.")
        return text

    def salvage(self, text: str) -> str:
        """Return what can be kept of a message that must not be refused, whatever it holds and however long it is.

        What `validate` accepts but for its length is returned as it would be; of the rest characters that nobody sees,
        halves of characters and marks on marks are left out.

        Raises:
            GuardError: With reason `empty`.
        """
        longer = InputValidator(max(self.max_chars, len(text) * _NFC_GROWS_AT_MOST))
        try:
            return longer.validate(text)
        except GuardError as error:
            if error.reason == "empty":
                raise
        return longer.validate(_seen(text))

    def _too_long(self, num_chars: int) -> GuardError:
        return GuardError(
            f"the message has {num_chars} characters",
            reason="too_long",
            where=WHERE,
            needed=f"at most {self.max_chars}",
            action="Shorten it, or raise guard.max_input_chars.",
        )


def check_tokens(num_tokens: int, max_tokens: int) -> None:
    """Refuse a message that takes too many of the model's tokens.

    Raises:
        GuardError: With reason `too_long`.
    """
    if num_tokens > max_tokens:
        raise GuardError(
            f"the message has {num_tokens} tokens",
            reason="too_long",
            where=WHERE,
            needed=f"at most {max_tokens}",
            action="Shorten it, or raise guard.max_input_tokens.",
        )


def _seen(text: str) -> str:
    """Return a text without whatever `validate` refuses, and without some that it accepts, such as joiners."""
    kept: list[str] = []
    num_marks = 0
    for char in text.replace("\r\n", "\n"):
        category = unicodedata.category(char)
        num_marks = num_marks + 1 if category in ("Mn", "Me") else 0
        is_hidden = category in ("Cc", "Cf", "Cs") and char not in "\n\t"
        if not is_hidden and char not in _BLANKS and num_marks <= 1:
            kept.append(char)
    return "".join(kept)


_HALF = (
    "invalid_unicode",
    "a lone surrogate",
    "valid Unicode text",
    "Send it again from its source; half of it is lost.",
)
_CONTROL_FAULT = (
    "control_characters",
    "the control character",
    "text whose only control characters are line breaks and tabs",
    "Remove it.",
)
_HIDDEN = "Remove it; such characters often come along when text is copied."
_OVERRIDE_FAULT = ("hidden_text", "a character that turns the direction of text", "text in its own direction", _HIDDEN)
_TAG_FAULT = ("hidden_text", "an invisible letter (a tag character)", "text that can be seen", _HIDDEN)
_SELECTOR_FAULT = ("hidden_text", "one of several variation selectors in a row", "at most one per character", _HIDDEN)


def _refuse(pattern: re.Pattern[str], text: str, fault: tuple[str, str, str, str]) -> None:
    found = pattern.search(text)
    if found:
        reason, what, needed, action = fault
        raise GuardError(
            f"character {found.start() + 1} is {what} (U+{ord(found[0][-1]):04X})",
            reason=reason,
            where=WHERE,
            needed=needed,
            action=action,
        )


def _refuse_floods(text: str) -> None:
    """Refuse more marks on a letter than any writing system has; also what makes normalising slow."""
    num_marks = 0
    for position, char in enumerate(text, start=1):
        is_mark = char > "\u02ff" and unicodedata.category(char) in ("Mn", "Me")
        num_marks = num_marks + 1 if is_mark else 0
        if num_marks > MAX_MARKS:
            raise GuardError(
                f"character {position} is one of more than {MAX_MARKS} marks on one letter",
                reason="control_characters",
                where=WHERE,
                needed=f"at most {MAX_MARKS} combining marks in a row",
                action="Remove them.",
            )


def _check_invisible(text: str) -> int:
    """Return the number of invisible characters of a text that has no more of them than writing needs.

    Raises:
        GuardError: There are too many, or they hide text or turn it around.
    """
    _refuse(_OVERRIDE, text, _OVERRIDE_FAULT)
    _refuse(_TWO_SELECTORS, text, _SELECTOR_FAULT)
    _refuse(_TAG, _FLAG.sub(lambda flag: "x" * len(flag[0]), text), _TAG_FAULT)
    _check_isolates(text)
    num_invisible = sum(char in _BLANKS or unicodedata.category(char) == "Cf" for char in text if char > "\x7f")
    if num_invisible > max(_FREE_INVISIBLE, _INVISIBLE_FRACTION * len(text)):
        raise GuardError(
            f"{num_invisible} of {len(text)} characters are invisible",
            reason="control_characters",
            where=WHERE,
            needed=f"at most {_FREE_INVISIBLE}, or a quarter of the text",
            action="Remove them; they often come along when text is copied from a web page.",
        )
    return num_invisible


def _check_isolates(text: str) -> None:
    depth = 0
    for sign in _ISOLATE.findall(text):
        depth += -1 if sign == "\u2069" else 1
        if depth < 0:
            break
    if depth:
        raise GuardError(
            "a bidirectional isolate is not closed, or closed twice",
            reason="hidden_text",
            where=WHERE,
            needed="every isolate (U+2066 to U+2068) closed by U+2069 in the same message",
            action=_HIDDEN,
        )
