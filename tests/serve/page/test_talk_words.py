"""What the page says: every text in every language, and no key that is missing or unused."""

import json
import re
from importlib import resources

import pytest

from duologue.serve.page.words import LANGUAGES, PARTS, words

STATIC = resources.files("duologue.serve.page").joinpath("static")
WORDS = resources.files("duologue.serve.page").joinpath("words")
USED = re.compile(r"""["'`]((?:base|talk)\.[a-z_]+)["'`]""")
MADE = {f"talk.key_{name}" for name in ("send", "line", "edit", "stop", "swipe", "save", "help")}
MADE |= {f"base.{name}" for name in ("talk", "characters", "memory", "context", "train", "settings")}


def scripts() -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in STATIC.iterdir() if file.name.endswith(".js")}


@pytest.mark.parametrize("part", [part for part in PARTS if WORDS.joinpath(f"{part}.json").is_file()])
def test_every_text_is_there_in_every_language_with_the_same_places(part):
    table = json.loads(WORDS.joinpath(f"{part}.json").read_text(encoding="utf-8"))
    for key, texts in table.items():
        assert set(texts) == set(LANGUAGES), key
        assert all(text.strip() for text in texts.values()), key
        places = [set(re.findall(r"\{(\w+)\}", text)) for text in texts.values()]
        assert all(each == places[0] for each in places), key


def test_every_key_that_is_used_is_in_the_table():
    table = words("en")
    used = {(name, key) for name, text in scripts().items() for key in USED.findall(text)}

    assert {key for _, key in used} > {"talk.send", "base.close"}
    assert [entry for entry in used if entry[1] not in table] == []


def test_no_text_of_talk_is_left_over():
    used = {key for text in scripts().values() for key in USED.findall(text)} | MADE

    assert [key for key in words("en") if key.startswith("talk.") and key not in used] == []
