"""A person's message to the text to use: NFC, plain newlines, nothing invisible in bulk, a bounded length."""

import unicodedata
from dataclasses import dataclass

from duologue.errors import GuardError

WHERE = "message"
_NFC_SHRINKS_AT_MOST = 4  # four code points to one: base and three marks (Unicode, UAX #15)
_FREE_INVISIBLE = 32  # joiners of emoji, Persian and Indic text stay far below
_INVISIBLE_FRACTION = 0.25


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
            GuardError: With reason `empty`, `too_long`, `control_characters` or `invalid_unicode`.
        """
        # Before normalising: sorting a long run of combining marks takes quadratic time.
        if len(text) > self.max_chars * _NFC_SHRINKS_AT_MOST:
            raise self._too_long(len(text))
        _refuse_surrogates(text)
        text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
        if len(text) > self.max_chars:
            raise self._too_long(len(text))
        _refuse_controls(text)
        num_invisible = sum(unicodedata.category(char) == "Cf" for char in text)
        num_visible = sum(not char.isspace() for char in text) - num_invisible
        if num_visible == 0:
            raise GuardError("the message is empty", reason="empty", where=WHERE, action="Write something.")
        if num_invisible > max(_FREE_INVISIBLE, _INVISIBLE_FRACTION * len(text)):
            raise GuardError(
                f"{num_invisible} of {len(text)} characters are invisible format characters",
                reason="control_characters",
                where=WHERE,
                needed=f"at most {_FREE_INVISIBLE}, or a quarter of the text",
                action="Remove them; they often come along when text is copied from a web page.",
            )
        return text

    def _too_long(self, num_chars: int) -> GuardError:
        return GuardError(
            f"the message has {num_chars} characters",
            reason="too_long",
            where=WHERE,
            needed=f"at most {self.max_chars}",
            action="Shorten it, or raise guard.max_input_chars.",
        )


def _refuse_surrogates(text: str) -> None:
    for position, char in enumerate(text, start=1):
        if 0xD800 <= ord(char) <= 0xDFFF:
            raise GuardError(
                f"character {position} is a lone surrogate (U+{ord(char):04X})",
                reason="invalid_unicode",
                where=WHERE,
                needed="valid Unicode text",
                action="Send the text again from its source; half of a character was lost.",
            )


def _refuse_controls(text: str) -> None:
    for position, char in enumerate(text, start=1):
        if unicodedata.category(char) == "Cc" and char not in "\n\t":
            raise GuardError(
                f"character {position} is the control character U+{ord(char):04X}",
                reason="control_characters",
                where=WHERE,
                needed="text whose only control characters are line breaks and tabs",
                action="Remove it.",
            )
