"""`duologue chat` in the terminal: everything a chat can do, by commands that begin with a slash."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from duologue.characters import Character, parse_lorebook
from duologue.chat import Bot, Cast, Member, Sessions
from duologue.cli.chat_commands import COMMANDS, help_text
from duologue.cli.output import Output
from duologue.cli.terminal import TerminalChat
from duologue.config import make_config
from duologue.engine.fake import FakeGenerator
from duologue.errors import ConfigError
from duologue.memory import MemoryStore

NYX = Character(
    "Nyx Harrow",
    description="A lighthouse keeper.",
    greeting="{{user}}, come in.",
    alternate_greetings=("Fog again.",),
    lorebook=parse_lorebook(
        {"entries": [{"keys": ["fog"], "content": "The horn is Bertha.", "enabled": True, "insertion_order": 1}]},
        where="test",
    ),
)


class Talk:
    """A terminal with its output."""

    def __init__(self, folder: Path, character: Character | Cast = NYX, **sections: dict[str, object]) -> None:
        tree = {"model": {"base": "fake"}, "data": {"train": ["x.json"]}, "character": {"user_name": "Sam"}, **sections}
        self.bot = Bot(
            FakeGenerator(),
            character,
            config=make_config(tree, where="test"),
            sessions=Sessions.open(folder / "chats.sqlite"),
            memory=MemoryStore.open(folder / "memory.sqlite"),
        )
        out = Output(is_json=False)
        self.shown = io.StringIO()
        out.console.file = self.shown
        self.terminal = TerminalChat(self.bot, out, session_id="")

    def __call__(self, line: str) -> str:
        """Do what a line says and return what it shows."""
        before = self.shown.tell()
        self.terminal.take(line)
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown.getvalue()[before:])

    def texts(self) -> list[str]:
        return [entry.message.content for entry in self.terminal.path()]


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    opened = Talk(tmp_path)
    yield opened
    opened.bot.close()


def test_every_command_is_in_the_help_and_does_something_without_an_argument(talk: Talk) -> None:
    for name, command in COMMANDS.items():
        assert f"{name} {command.usage}".strip() in help_text()
    assert "/swipe" in talk("/help")
    assert "unknown command /dance" in talk("/dance")
    assert "unknown command /" in talk("/")


def test_a_reply_is_shown_with_its_figures(talk: Talk) -> None:
    shown = talk("Is the lamp lit?")
    assert shown.startswith("Nyx Harrow: You said: Is the lamp lit?")
    assert re.search(r"\(\d+ prompt tokens, 0% cached\)", shown)
    assert re.search(r"cached", talk("And now?"))


def test_versions_are_made_and_gone_through(talk: Talk) -> None:
    talk("Is the lamp lit?")
    talk("/swipe")
    assert "3. Nyx Harrow [2/2]:" in talk("/history")
    assert talk("/left").startswith("[1/2] Nyx Harrow: You said")
    assert "no other version" in talk("/left")
    assert talk("/right").startswith("[2/2]")
    assert talk("/right").startswith("Nyx Harrow: You said")  # a third one is made
    assert "[3/3]" in talk("/history")
    assert talk("/right 1").startswith("[2/2] Nyx Harrow: Fog again.")


def test_messages_are_edited_said_anew_deleted_and_brought_back(talk: Talk) -> None:
    talk("one")
    talk("/edit 3 No.")
    assert talk.texts()[2] == "No."
    talk("/undo")
    assert talk.texts()[2].startswith("You said: one")
    talk("/resay 2 two")
    assert talk.texts()[1:] == ["two", "You said: two Tell me more about that."]
    assert "deleted 2 messages" in talk("/delete 2")
    assert talk.texts()[1] == "one"  # the version beside it
    assert "undone: delete" in talk("/undo")
    assert talk.texts()[1] == "two"


def test_a_wrong_number_is_said(talk: Talk) -> None:
    for line in ("/edit 9 x", "/delete x", "/branch 0", "/open 7", "/memory pin", "/memory dance 1", "/new x"):
        with pytest.raises(ConfigError):
            talk(line)


def test_sessions_are_branched_listed_named_tagged_and_found(talk: Talk) -> None:
    talk("the green boat")
    talk("/rename At sea")
    assert talk("/tag #boats, sea").strip() == "#boats #sea"
    talk("/branch 2")
    assert talk.texts()[1:] == ["the green boat"]
    talk("/new 2")
    assert talk.texts() == ["Fog again."]
    assert len(talk("/sessions").strip().splitlines()) == 3
    assert len(talk("/sessions boats").strip().splitlines()) == 2
    found = talk("/search green")
    assert "At sea" in found
    number = found.split()[0]
    talk(f"/open {number}")
    assert "the green boat" in talk.texts()
    assert "nothing was found" in talk("/search purple")
    assert "no tags" in talk("/tag -")


def test_a_reply_is_gone_on_with_and_the_users_line_is_written(talk: Talk) -> None:
    talk("one")
    before = talk.texts()[-1]
    talk("/continue")
    assert talk.texts()[-1].startswith(before)
    assert len(talk.texts()) == 3
    assert talk("/impersonate").startswith("Sam: ")
    assert len(talk.texts()) == 3
    talk("/next")
    assert len(talk.texts()) == 4
    talk("/say just so you know")
    assert talk.texts()[-1] == "just so you know"


def test_greetings_are_listed_and_chosen(talk: Talk) -> None:
    assert "2. Fog again." in talk("/greeting")
    talk("/greeting 2")
    assert talk.texts() == ["Fog again."]


def test_notes_and_summaries_are_shown_set_and_removed(talk: Talk) -> None:
    assert "there is no note" in talk("/note")
    assert "Be brief. (depth 2)" in talk("/note depth=2 Be brief.")
    talk("one")
    assert "Be brief." in talk("/context")
    assert "there is no note" in talk("/note -")
    assert "there is no summary" in talk("/summary")


def test_the_context_and_the_lore_are_shown(talk: Talk) -> None:
    talk("What of the fog?")
    shown = talk("/context")
    assert re.search(r"\d+ +system +system +front +You are Nyx Harrow", shown)
    assert re.search(r"\d+ +lore +system +depth 1 +The horn is Bertha\.", shown)
    assert re.search(r"\d+ of \d+ tokens; 0% were cached", shown)
    assert talk("/lore").startswith("fired ")
    talk("/hide 2")
    assert "(hidden)" in talk("/history")


def test_memories_are_listed_found_explained_pinned_hidden_and_forgotten(talk: Talk) -> None:
    talk("My boat is called Petrel.")
    listed = talk("/memory")
    number = next(row.split()[0] for row in listed.splitlines() if "user: My boat is called Petrel." in row)
    assert "Petrel" in talk("/memory search boat")
    assert "> " in talk(f"/memory why {number}")
    assert "(pinned)" in talk(f"/memory pin {number}")
    assert "(pinned)" not in talk(f"/memory unpin {number}")
    assert "private" in talk(f"/memory private {number}")
    assert "private" not in talk(f"/memory public {number}")
    talk("/new")
    assert "nothing was recalled" in talk("/recalled")
    talk("/recall the boat")
    talk("Tell me.")
    assert "Petrel" in talk("/recalled")
    assert "forgot 1 memories; 0 traces" in talk(f"/memory forget {number}")
    assert "user: My boat is called Petrel." not in talk("/recalled")


def test_how_replies_are_drawn_is_changed_by_key_and_by_preset(talk: Talk) -> None:
    assert talk("/set temperature=0.25").strip() == "temperature = 0.25"
    assert talk.bot.sampling().temperature == 0.25
    assert "creative" in talk("/preset")
    talk("/preset deterministic")
    assert talk.bot.sampling().temperature == 0
    assert "top_k" in talk("/set")
    for line in ("/set temprature=1", "/set temperature=hot", "/preset dance"):
        with pytest.raises(ConfigError):
            talk(line)
    assert talk.bot.sampling().temperature == 0


def test_everybody_replies_in_a_chat_of_several_and_anybody_may_be_asked(tmp_path: Path) -> None:
    cast = Cast((Member.of(NYX), Member.of(Character("Ada Bell"))), "list")
    talk = Talk(tmp_path, cast)
    shown = talk("Hello.")
    assert "Nyx Harrow: " in shown
    assert "Ada Bell: " in shown
    assert len(talk.texts()) == 4
    assert talk("/as ada").startswith("Ada Bell: ")
    talk.bot.close()
    quiet = Talk(tmp_path, replace(cast, order="manual"))
    assert "/as NAME" in quiet("Hello.")
    assert quiet.texts()[-1] == "Hello."
    quiet.bot.close()


def test_one_message_gives_one_json_document_with_its_context(talk: Talk) -> None:
    document = json.loads(json.dumps(talk.terminal.say_once("What of the fog?")))
    assert document["reply"].startswith("You said: What of the fog?")
    assert document["context"]["num_prompt_tokens"] == document["num_prompt_tokens"]
    assert {block["kind"] for block in document["context"]["blocks"]} == {"system", "message", "lore"}
    assert document["num_cached_tokens"] == 0
    assert document["unsupported_settings"] == []
    assert document["replies"][0]["speaker"] == "Nyx Harrow"


def test_a_refusal_is_said_and_the_conversation_goes_on(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["/edit 9 x", "zqflag of a schoolchild", "hello", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    talk.terminal.run()
    shown = talk.shown.getvalue()
    assert "'9' is no message" in shown
    assert "You said: hello" in shown
    assert len(talk.texts()) == 3
