"""Character cards: files (V1, V2, V3; JSON or PNG) in, a frozen `Character` out, and back."""

from duologue.characters.card import Character, parse_card
from duologue.characters.files import load_character, write_card
from duologue.characters.shipped import LILA_FOLDER, lila_data_files

__all__ = ["LILA_FOLDER", "Character", "lila_data_files", "load_character", "parse_card", "write_card"]
