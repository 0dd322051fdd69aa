"""The one prompt layout, used for training and for chat: character, memories and messages become ordered messages.

Stable parts come first (system text, persona, constant lore, example dialogue), then the conversation; volatile parts
(fired lore, recalled lines, notes) stand near its end, so that an engine's prefix cache holds while it grows.
"""

from duologue.prompt.blocks import Block, BlockKind
from duologue.prompt.build import build, persona_text, raw_system_text, system_text
from duologue.prompt.layout import arrange, stand_before
from duologue.prompt.quote import MEMORY_HEADER, framed, quotable, quote, quote_row

__all__ = [
    "MEMORY_HEADER",
    "Block",
    "BlockKind",
    "arrange",
    "build",
    "framed",
    "persona_text",
    "quotable",
    "quote",
    "quote_row",
    "raw_system_text",
    "stand_before",
    "system_text",
]
