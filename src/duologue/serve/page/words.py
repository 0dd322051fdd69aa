"""What the page says, in each language, from one table: a file of texts by key."""

import json
from functools import cache
from importlib import resources

LANGUAGES = ("en", "de")
PARTS = ("base", "talk", "feedback", "characters", "memory", "context", "train", "duel", "welcome", "settings")


@cache
def words(language: str) -> dict[str, str]:
    """Return the texts of one language by key, such as `talk.send`.

    The table lies in `words/PART.json`: `{"key": {"en": "...", "de": "..."}}`. A `{name}` in a text is filled in.
    """
    texts: dict[str, str] = {}
    for part in PARTS:
        file = resources.files(__package__).joinpath("words", f"{part}.json")
        table = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        texts |= {f"{part}.{key}": by_language[language] for key, by_language in table.items()}
    return texts
