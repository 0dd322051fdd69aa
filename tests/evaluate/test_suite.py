"""Suites and their cases."""

import json
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.errors import ConfigError
from duologue.evaluate.canaries import conversation_line, load_canaries
from duologue.evaluate.cases import make_cases
from duologue.evaluate.evaluators import load_evaluator
from duologue.evaluate.suite import SUITES, load_suite
from duologue.messages import Conversation, Message
from tests.docs.pages import documents, fences

ADA = Character("Ada", greeting="Good evening, {{user}}.")


def conversation(number: int) -> Conversation:
    texts = ["Welcome.", f"Question {number}?", f"Answer {number}.", "And?", "Nothing more."]
    roles = ["assistant", "user", "assistant", "user", "assistant"]
    return Conversation(tuple(Message(r, t) for r, t in zip(roles, texts, strict=True)), f"data/a.jsonl:{number}")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suites_name_evaluators_of_the_version_they_were_written_for(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert {one: load_evaluator(one).version for one in suite.evaluators} == dict(suite.evaluators)


def test_the_quick_suite_has_no_dialogues_the_standard_one_long_ones_and_the_thorough_one_several_seeds() -> None:
    assert not load_suite("quick").has_dialogues
    kinds = {case.kind for case in make_cases(load_suite("standard"), ADA, (), seed=0)}
    assert {"written", "long", "safety"} <= kinds
    assert len(load_suite("thorough").seeds) == 3


def test_all_faults_of_a_suite_are_told_with_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = ""\nversion = 0\nturns = 3\nseeds = [-1]\ncases = ["gone.toml"]\n[evaluators]\ncharm = 1\n')
    with pytest.raises(ConfigError) as caught:
        load_suite(str(path))
    for part in (
        "mine.toml",
        "name: found ''",
        "version: found 0",
        "turns: there is no",
        "seeds: found",
        "gone.toml",
        "evaluators.charm",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("name = ", "no TOML"), (None, "there is no suite")])
def test_a_suite_that_is_none_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_suite(str(path))


def test_the_digest_changes_with_the_cases_a_suite_names(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('name = "s"\nversion = 1\nseeds = [0]\ncases = ["c.toml"]\n')
    digests = set()
    for turn in ("Hello.", "Good day."):
        (tmp_path / "c.toml").write_text(f'[[cases]]\nid = "a"\nuser_turns = ["{turn}"]\n')
        digests.add(load_suite(str(tmp_path / "s.toml")).digest)
    assert len(digests) == 2


def test_held_out_cases_begin_as_their_conversation_and_hold_the_real_replies(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('name = "s"\nversion = 1\nseeds = [0]\nnum_held_out_cases = 3\nnum_turns = 2\n')
    suite = load_suite(str(tmp_path / "s.toml"))
    pool = [conversation(number) for number in range(10)]
    cases = make_cases(suite, ADA, pool, seed=4)
    assert len(cases) == 3
    for case in cases:
        number = case.source.rpartition(":")[2]
        assert case.opening == (Message("assistant", "Welcome."),)
        assert case.user_turns == (f"Question {number}?", "And?")
        assert case.references == (f"Answer {number}.", "Nothing more.")
    assert make_cases(suite, ADA, pool[::-1], seed=4) == cases, "the choice does not hang on the order of the files"
    assert any(make_cases(suite, ADA, pool, seed=seed) != cases for seed in range(5))


def test_written_cases_open_with_the_greeting_unless_they_bring_an_opening(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('name = "s"\nversion = 1\nseeds = [0]\ncases = ["c.toml"]\n')
    (tmp_path / "c.toml").write_text(
        '[[cases]]\nid = "a"\nuser_turns = ["Hello."]\n'
        '[[cases]]\nid = "b"\nuser_turns = ["Hello."]\nopening = [{role = "assistant", content = "Yes?"}]\n'
        f'[[cases]]\nid = "c"\nuser_turns = {["Go on."] * 40}\n'
    )
    plain, opened, long = make_cases(load_suite(str(tmp_path / "s.toml")), ADA, (), seed=0)
    assert plain.opening == (Message("assistant", ADA.greeting),)
    assert opened.opening == (Message("assistant", "Yes?"),)
    assert (plain.kind, long.kind) == ("written", "long")


def test_faults_of_written_cases_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('name = "s"\nversion = 1\nseeds = [0]\ncases = ["c.toml"]\n')
    (tmp_path / "c.toml").write_text(
        '[[cases]]\nid = 1\nuser_turns = []\n[[cases]]\nid = "b"\nuser_turns = ["x"]\nkind = "odd"\n'
    )
    with pytest.raises(ConfigError) as caught:
        make_cases(load_suite(str(tmp_path / "s.toml")), ADA, (), seed=0)
    for part in ("c.toml", "cases[1].id", "cases[1].user_turns", "cases[2].kind"):
        assert part in str(caught.value)


def test_suite_cases_and_secrets_of_the_how_to_are_read_as_they_stand_there(tmp_path: Path) -> None:
    page = next(page for page in documents() if page.name == "know-it-is-better.md")
    suite, cases = (fence.text for fence in fences(page) if fence.language == "toml")
    (tmp_path / "mine.toml").write_text(suite)
    (tmp_path / "mine-cases.toml").write_text(cases)
    read = load_suite(str(tmp_path / "mine.toml"))
    assert read.seeds == (0, 1, 2)
    assert dict(read.evaluators) == {name: load_evaluator(name).version for name in read.evaluators}
    ticket, middle = make_cases(read, Character("Lila", greeting="Good evening."), (), seed=0)
    assert (len(ticket.user_turns), ticket.opening[0].content) == (3, "Good evening.")
    assert [message.content for message in middle.opening] == ["Is this seat free?", "It is now."]

    secret, row = (fence.text for fence in fences(page) if fence.language == "json")
    (tmp_path / "canaries.jsonl").write_text(secret)
    [canary] = load_canaries(tmp_path / "canaries.jsonl")
    assert json.loads(row) == json.loads(conversation_line(canary))
