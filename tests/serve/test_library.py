"""The characters of a home: found, kept apart, opened once, and never above the home's rating."""

import shutil
import threading
from pathlib import Path

import pytest

from duologue.characters import LILA_FOLDER
from duologue.chat import Bot
from duologue.config import Home
from duologue.errors import GuardError
from duologue.serve import Library
from duologue.serve.library import BASE_RUN
from tests.serve.running import make_bot, make_test_config

CONFIG = """[model]
base = "bundled:smollm2-135m"
[data]
train = ["none.json"]
[character]
card = "character.png"
[guard]
rating = "{rating}"
"""


def add(home: Path, name: str, *, rating: str = "general") -> Path:
    folder = home / name
    folder.mkdir()
    (folder / "duologue.toml").write_text(CONFIG.format(rating=rating), encoding="utf-8")
    shutil.copy(LILA_FOLDER / "character.png", folder / "character.png")
    return folder


class Opened:
    """Opens bots with the fake engine and remembers which."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.adapters: list[object] = []
        self.bots: list[Bot] = []

    def __call__(self, folder, config, *, adapter):
        self.folders.append(folder.name)
        self.adapters.append(adapter)
        self.bots.append(make_bot(folder, config=make_test_config()))
        return self.bots[-1]


@pytest.fixture
def opened():
    made = Opened()
    yield made
    for bot in made.bots:
        bot.close()


def library(home: Path, opened: Opened | None = None, **guard: str) -> Library:
    return Library(home, Home.model_validate({"guard": guard}), open_bot=opened or Opened())


def test_an_empty_home_has_no_characters(tmp_path):
    assert library(tmp_path).entries() == ()
    assert not library(tmp_path).is_single


def test_every_folder_with_a_configuration_is_a_character(tmp_path):
    add(tmp_path, "one")
    (tmp_path / "notes").mkdir()

    (entry,) = library(tmp_path).entries()

    assert (entry.id, entry.name, entry.fault) == ("lila-quill", "Lila Quill", "")
    assert entry.card == tmp_path / "one" / "character.png"


def test_a_characters_own_folder_is_a_home_of_one(tmp_path):
    folder = add(tmp_path, "one")

    single = library(folder)

    assert single.is_single
    assert [entry.folder for entry in single.entries()] == [folder]


def test_two_folders_with_one_name_have_two_ids(tmp_path):
    add(tmp_path, "one")
    add(tmp_path, "two")

    assert {entry.id for entry in library(tmp_path).entries()} == {"lila-quill", "lila-quill-two"}


def test_a_folder_with_faults_is_listed_with_them(tmp_path):
    add(tmp_path, "one")
    broken = add(tmp_path, "two")
    (broken / "duologue.toml").write_text("[model]\nbase = 7\n", encoding="utf-8")

    entries = {entry.id: entry for entry in library(tmp_path).entries()}

    assert "model.base" in entries["two"].fault
    assert "data" in entries["two"].fault
    with pytest.raises(GuardError) as refused:
        library(tmp_path).bot("two")
    assert refused.value.reason == "broken"
    assert str(tmp_path) not in refused.value.sentence()


def test_a_rating_above_the_homes_is_lowered_to_it(tmp_path):
    add(tmp_path, "one", rating="adult")

    for home, expected in [("general", "general"), ("mature", "mature"), ("adult", "adult")]:
        (entry,) = library(tmp_path, rating=home).entries()
        assert entry.rating == expected
        assert entry.config is not None
        assert entry.config.guard.rating == expected


def test_a_changed_card_or_configuration_is_seen(tmp_path):
    folder = add(tmp_path, "one")
    shown = library(tmp_path)
    assert not shown.entries()[0].fault

    (folder / "character.png").write_bytes(b"no picture")

    assert shown.entries()[0].fault


def test_an_unknown_character_or_run_is_not_found(tmp_path, opened):
    add(tmp_path, "one")

    for ask in (lambda of: of.bot("nobody"), lambda of: of.bot("lila-quill", run="2026-01-01-1")):
        with pytest.raises(GuardError) as refused:
            ask(library(tmp_path, opened))
        assert refused.value.reason == "not_found"


def test_many_threads_open_one_bot(tmp_path, opened):
    add(tmp_path, "one")
    shared = library(tmp_path, opened)
    bots: list[Bot] = []
    threads = [threading.Thread(target=lambda: bots.append(shared.bot("lila-quill"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert opened.folders == ["one"]
    assert opened.adapters == [None]
    assert len(set(map(id, bots))) == 1
    assert shared.bot("lila-quill", run=BASE_RUN) is bots[0]


def test_a_forgotten_character_is_opened_anew(tmp_path, opened):
    add(tmp_path, "one")
    shared = library(tmp_path, opened)
    shared.bot("lila-quill")

    shared.forget("lila-quill")
    shared.bot("lila-quill")

    assert opened.folders == ["one", "one"]
