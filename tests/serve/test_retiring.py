"""A character that is changed while it speaks: whoever it speaks to hears it to the end."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from duologue.chat import Bot
from duologue.errors import GuardError
from duologue.serve.retiring import Retiring
from tests.serve.page.panels import Panels, make_home, panels
from tests.serve.running import Gate, GatedGenerator, make_bot

CHAT = "characters/ada-bell/chats"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def home(tmp_path: Path, gate: Gate) -> Iterator[Panels]:
    with panels(make_home(tmp_path / "home"), generator=GatedGenerator(gate, reply="one two three")) as served:
        served.library.retiring = Retiring(rest_seconds=0)
        yield served
        gate.opened.set()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Bot]:
    found: list[Bot] = []
    close = Bot.close

    def close_and_note(bot: Bot) -> None:
        close(bot)
        found.append(bot)

    monkeypatch.setattr(Bot, "close", close_and_note)
    return found


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def change_setting(home: Panels) -> None:
    body = {"key": "character.author_note", "value": "It rains."}
    assert home.ask("PUT", "characters/ada-bell/settings", body).status_code == 200


def change_card(home: Panels) -> None:
    body = {"version": home.get("characters/ada-bell/card")["version"], "fields": {"personality": "Brisk."}}
    assert home.ask("PUT", "characters/ada-bell/card", body).status_code == 200


def put_aside(home: Panels) -> None:
    assert home.ask("DELETE", "characters/ada-bell").status_code == 200


@pytest.mark.parametrize("change", [change_setting, change_card, put_aside])
def test_a_reply_goes_on_to_its_end_while_an_admin_changes_the_character(home, gate, closed, change):
    chat = home.ask("POST", CHAT, {}, who="tom").json()["id"]
    assert home.ask("POST", f"{CHAT}/{chat}/messages", {"text": "Count."}, who="tom").status_code == 202
    assert gate.started.wait(20)
    old = home.library.bot("ada-bell")

    change(home)
    time.sleep(0.2)  # long enough for a bot that nobody holds to be closed
    assert closed == []
    gate.opened.set()
    until(lambda: closed)

    assert closed == [old]
    if change is put_aside:
        [removed] = (path.name for path in (home.root / "removed").iterdir())
        assert home.ask("POST", "removed", {"removed": removed}).is_success
    else:
        assert home.library.bot("ada-bell") is not old
    said = home.get(f"{CHAT}/{chat}", who="tom")["messages"][-1]
    assert said["html"].strip() == "<p>one two three</p>"


def test_another_account_talks_to_the_changed_character_at_once(home, gate):
    chat = home.ask("POST", CHAT, {}, who="tom").json()["id"]
    home.ask("POST", f"{CHAT}/{chat}/messages", {"text": "Count."}, who="tom")
    assert gate.started.wait(20)
    change_setting(home)

    assert home.get(CHAT, who="ana") is not None
    assert home.library.bot("ada-bell").config.character.author_note == "It rains."


def test_a_bot_that_was_closed_in_between_is_asked_for_again(tmp_path):
    retiring, bot = Retiring(), make_bot(tmp_path)
    retiring.retire(bot)
    retiring.close()

    with pytest.raises(GuardError) as refused:
        retiring.hold(bot)
    assert refused.value.reason == "busy"
