"""Character cards and lorebooks: files in, a frozen `Character` out, and back; macros; which lore fires.

Cards are V1, V2 or V3, in JSON, PNG or CharX. `expand` replaces macros, `activate` finds the lore of a turn.
"""

from typing import TYPE_CHECKING

from duologue.characters.card import Asset, Character, DepthPrompt, parse_card
from duologue.characters.shipped import LILA_FOLDER, lila_data_files
from duologue.later import offered_later

if TYPE_CHECKING:
    from duologue.characters.activation import Activation, FiredEntry, LoreTrace, activate
    from duologue.characters.charx import (
        CARD_NAME,
        MAX_UNPACKED_BYTES,
        OpenCharx,
        is_zip,
        open_charx,
        read_charx,
        write_charx,
    )
    from duologue.characters.chat_line import ChatLine
    from duologue.characters.files import Card, CardForm, find_form, load_card, load_character, load_picture
    from duologue.characters.json_text import dump_json
    from duologue.characters.lore_settings import LoreScene, LoreSettings
    from duologue.characters.lore_state import LoreState
    from duologue.characters.lorebook import Lorebook, LoreEntry, load_lorebook, parse_lorebook
    from duologue.characters.macros import MacroContext, expand, unknown_macros
    from duologue.characters.save import save_card, write_card

# Imported when they are first asked for: training reads a card and needs neither lore nor chat macros.
_LATER = {
    "activation": (
        "Activation",
        "FiredEntry",
        "LoreTrace",
        "activate",
    ),
    "charx": ("CARD_NAME", "MAX_UNPACKED_BYTES", "OpenCharx", "is_zip", "open_charx", "read_charx", "write_charx"),
    "chat_line": ("ChatLine",),
    "files": (
        "Card",
        "CardForm",
        "find_form",
        "load_card",
        "load_character",
        "load_picture",
    ),
    "json_text": ("dump_json",),
    "lore_settings": (
        "LoreScene",
        "LoreSettings",
    ),
    "lore_state": ("LoreState",),
    "lorebook": (
        "Lorebook",
        "LoreEntry",
        "load_lorebook",
        "parse_lorebook",
    ),
    "macros": (
        "MacroContext",
        "expand",
        "unknown_macros",
    ),
    "save": (
        "save_card",
        "write_card",
    ),
}

__all__ = [
    "CARD_NAME",
    "LILA_FOLDER",
    "MAX_UNPACKED_BYTES",
    "Activation",
    "Asset",
    "Card",
    "CardForm",
    "Character",
    "ChatLine",
    "DepthPrompt",
    "FiredEntry",
    "LoreEntry",
    "LoreScene",
    "LoreSettings",
    "LoreState",
    "LoreTrace",
    "Lorebook",
    "MacroContext",
    "OpenCharx",
    "activate",
    "dump_json",
    "expand",
    "find_form",
    "is_zip",
    "lila_data_files",
    "load_card",
    "load_character",
    "load_lorebook",
    "load_picture",
    "open_charx",
    "parse_card",
    "parse_lorebook",
    "read_charx",
    "save_card",
    "unknown_macros",
    "write_card",
    "write_charx",
]

__getattr__ = offered_later(__name__, _LATER)
