"""`duologue duel`: blind until the end, every pick kept at once, and a standing that says what it would take."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from duologue.characters import load_character
from duologue.chat import Bot, Sessions, duels
from duologue.cli import duel as command
from duologue.cli.duel_rounds import Contenders, Rounds
from duologue.cli.duel_turns import Turns, held_out_turns, turns_of_file
from duologue.cli.output import Output
from duologue.config import load_config
from duologue.engine import BaseModel
from duologue.engine.fake import FakeGenerator
from duologue.errors import ConfigError
from duologue.messages import Message
from duologue.train import new_run

TOML = (
    '[model]\nbase = "fake"\nquantization = "none"\n[data]\ntrain = ["x.json"]\nvalidation_fraction = 0.3\n'
    '[character]\ncard = "character.json"\n[evaluation]\nprompts = ["Which way?"]\n'
)
RUN = "2026-11-22-2"
Typed = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "duologue.toml").write_text(TOML)
    (tmp_path / "character.json").write_text(json.dumps({"name": "Ada Bell", "description": "A lift attendant."}))
    rows = [{"instruction": f"Question {number}?", "output": f"Answer {number}."} for number in range(20)]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    for _ in range(2):
        run = new_run(tmp_path, today=date(2026, 11, 22))
        (run.folder / "adapter").mkdir()
        base = {name: getattr(BaseModel("fake"), name) for name in BaseModel.__slots__}
        run.write("manifest.json", {"adapter_sha256": {}, "base": base})
    return tmp_path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Typed]:
    """What the person types, line after line; an exception is raised in its place."""
    lines: list[str | type[BaseException]] = []

    def answer(*_: object) -> str:
        line = lines.pop(0) if lines else EOFError
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", answer)
    yield lambda *more: lines.extend(more)
    assert not lines, "all that was typed was asked for"


def kept(folder: Path) -> list[duels.Standing]:
    return list(duels.standings(folder, character="ada-bell", account="local"))


@pytest.fixture
def played(folder: Path) -> Iterator[Callable[..., tuple[Rounds, str]]]:
    """Two models that answer differently, played at a terminal of a width; returns the rounds and what was shown."""
    opened: list[Bot] = []

    def play(turns: Turns, *, num_rounds: int = 0, width: int = 80) -> tuple[Rounds, str]:
        character = load_character(folder / "character.json")
        bots = {}
        for run, reply in ((RUN, "Trained: {message}"), ("base", "Base: {message}")):
            sessions = Sessions.open(folder / f"{run}.sqlite")
            config = load_config(folder / "duologue.toml")
            bots[run] = Bot(FakeGenerator(reply=reply), character, config=config, sessions=sessions, memory=None)
            opened.append(bots[run])
        out = Output(is_json=False)
        out.console = Console(file=io.StringIO(), width=width, highlight=False)
        rounds = Rounds(Contenders((RUN, "base"), bots), turns, out, folder=folder, base="fake")
        rounds.run(num_rounds)
        return rounds, out.console.file.getvalue()

    yield play
    for bot in opened:
        bot.close()


def test_a_pick_is_of_the_reply_that_was_shown_there_and_is_kept_with_all_there_is_to_know(folder, typed, played):
    typed(*["Hello", "1"] * 12)
    rounds, shown = played(Turns(()), num_rounds=12)
    own = {RUN: "Trained: Hello", "base": "Base: Hello"}
    assert {duel.left_run for duel in rounds.kept} == set(own), "12 draws of one side: 1 chance in 2048"
    for duel in rounds.kept:
        assert (duel.left_reply, duel.right_reply) == (own[duel.left_run], own[duel.right_run])
        found = duels.find(folder, duel.id, account="local", character="ada-bell")
        assert replace(found, sampling=duel.sampling) == duel
        assert found.sampling["seed"] == duel.sampling["seed"] >= 0
    [standing] = kept(folder)
    assert standing.first_wins == sum(duel.left_run == RUN for duel in rounds.kept)
    assert len(duels.picked(folder, character="ada-bell")) == 12
    firsts = [line for line in shown.splitlines() if line.startswith(("Trained", "Base"))][::2]
    assert firsts == [duel.left_reply for duel in rounds.kept], "reply 1 stands first"


def test_nothing_says_whose_is_whose_until_the_end(typed, played):
    typed("Hello", "2", "q")
    rounds, shown = played(Turns(()))
    assert RUN not in shown and "base model" not in shown
    summary = rounds.summary()
    assert f"run {RUN}" in summary and "the base model" in summary and "2 was picked" in summary


def test_every_key_does_what_it_says(folder, typed, played):
    typed("a", "t", "b", "B", "c", "s", "d", "x", "1", "e", "q")
    rounds, shown = played(Turns(()))
    [standing] = kept(folder)
    assert (standing.ties, standing.both_bad, standing.num_picks) == (1, 1, 3)
    assert rounds.num_skipped == 2, "one skipped, one ended at"
    assert "'x' is none of these" in shown


@pytest.mark.parametrize("end", [KeyboardInterrupt, EOFError])
def test_whoever_interrupts_keeps_what_was_picked(folder, typed, played, end):
    typed("a", "1", "b", end)
    _, shown = played(Turns(()))
    assert "every pick is kept" in shown
    assert [standing.num_picks for standing in kept(folder)] == [1]


def test_a_turn_that_is_refused_is_said_and_the_next_one_comes(typed, played):
    typed("zqflag of a schoolchild", "hello", "1", "q")
    rounds, _ = played(Turns(()))
    assert (len(rounds.kept), rounds.num_skipped) == (1, 1)


def test_replies_stand_side_by_side_where_there_is_room(typed, played):
    typed("Hello", "t")
    _, wide = played(Turns(()), num_rounds=1, width=120)
    assert any("Trained: Hello" in line and "Base: Hello" in line for line in wide.splitlines())
    typed("Hello", "t")
    _, narrow = played(Turns(()), num_rounds=1, width=70)
    assert not any("Trained: Hello" in line and "Base: Hello" in line for line in narrow.splitlines())
    assert narrow.index("Reply 1") < narrow.index("Reply 2")


def test_turns_are_drawn_from_what_is_held_out_and_from_the_prompts(folder):
    config = load_config(folder / "duologue.toml")
    turns = held_out_turns(folder, config, Output(is_json=True))
    assert turns[0] == (Message("user", "Which way?"),)
    assert all(turn[-1].role == "user" and turn[-1].content.startswith("Question") for turn in turns[1:])
    assert 1 < len(turns) < 20
    pool = Turns(turns)
    assert sorted(map(repr, (pool.draw() for _ in turns))) == sorted(map(repr, turns)), "none twice before all were"
    assert pool.draw() in turns
    (folder / "x.json").unlink()
    assert held_out_turns(folder, config, Output(is_json=True)) == turns[:1], "a duel needs no data"


def test_a_file_of_turns_is_gone_through_once_in_its_order(folder, typed, played):
    (folder / "turns.txt").write_text("One?\n\n  Two?  \n", encoding="utf-8")
    typed("1", "1")
    rounds, _ = played(Turns(turns_of_file(folder / "turns.txt"), is_file=True))
    assert [duel.messages[-1]["content"] for duel in rounds.kept] == ["One?", "Two?"]


def test_an_empty_line_draws_a_turn(typed, played):
    typed("", "1")
    rounds, _ = played(Turns(((Message("user", "Drawn?"),),)), num_rounds=1)
    assert rounds.kept[0].messages == ({"role": "user", "content": "Drawn?"},)


def test_the_command_prints_one_document_and_the_same_words_are_a_tie(folder, typed, capsys):
    typed("Hello", "Hello again")
    command.duel(folder, engine="fake", rounds=2, is_json=True)
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [each["pick"] for each in document["rounds"]] == ["tie", "tie"]
    assert (document["first"], document["second"]) == ("2026-11-22-2", "base")
    assert document["standings"][0]["ties"] == 2 and document["standings"][0]["leader"] == ""
    assert {each["run"] for each in document["strengths"]["runs"]} == {"2026-11-22-2", "base"}
    assert "word for word" in printed.err


def test_the_standings_say_who_is_ahead_and_how_many_picks_are_needed(folder, typed, played, capsys):
    command.duel(folder, is_standings=True)
    assert "no duel was picked yet" in capsys.readouterr().out
    typed("a", "1", "b", "1")
    kept_ones = played(Turns(()), num_rounds=2)[0].kept
    while sum(duel.left_run == RUN for duel in kept_ones) < 5:
        kept_ones.append(replace(kept_ones[0], id=f"more{len(kept_ones)}", left_run=RUN, right_run="base"))
        duels.keep(folder, kept_ones[-1])
    command.duel(folder, is_standings=True)
    shown = capsys.readouterr().out
    assert "too early to say: about" in shown and "Elo points" in shown
    for number in range(40):
        duels.keep(folder, replace(kept_ones[-1], id=f"won{number}"))
    duels.keep(folder, replace(kept_ones[-1], id="apart", left_run="x-1", right_run="x-2"))
    command.duel(folder, is_standings=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"run {RUN} is ahead, by more than luck" in shown
    assert "never compared with each other" in shown


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"first": "2026-01-01-1"}, "no finished run '2026-01-01-1'.*2026-11-22-2, 2026-11-22-1, base"),
        ({"second": "../x"}, "--second"),
        ({"second": "2026-11-22-2"}, "compared with itself"),
        ({"prompts": Path("none.txt")}, "No such file"),
    ],
)
def test_a_wrong_run_or_file_is_said_before_anything_is_loaded(folder, asked, said):
    with pytest.raises(ConfigError, match=said):
        command.duel(folder, engine="fake", **asked)


def test_a_file_without_a_turn_and_a_folder_without_a_run_are_said(folder, tmp_path_factory):
    (folder / "empty.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match="no turn in this file"):
        turns_of_file(folder / "empty.txt")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        turns_of_file(folder / "bytes.txt")
    bare = tmp_path_factory.mktemp("bare")
    (bare / "duologue.toml").write_text('[model]\nbase = "fake"\n[data]\ntrain = ["x.json"]\n')
    with pytest.raises(ConfigError, match="nothing is trained yet"):
        command.duel(bare, engine="fake")
