"""The frozen table: what the root tier must catch, what it may not, and the same verdict at every place that asks."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.characters import Character, Lorebook, LoreEntry, write_card
from duologue.chat import Bot, ReplyStream, Sessions, open_bot
from duologue.chat.stream import WITHHELD
from duologue.cli.app import make_app
from duologue.data.found import RowFault
from duologue.data.screen import screen
from duologue.engine import Piece, Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import GuardError
from duologue.guard import RATINGS, ContentPolicy, caring_answer, check_character, find_crisis
from duologue.guard.crisis import REGIONS, encourages_self_harm
from duologue.memory import MemoryStore, Scope, Source
from duologue.messages import Conversation, Message
from tests.chat.made import a_config
from tests.guard.table import BESIDE_A_STAND_IN, FROZEN, Scene, is_refused, look_alike_scene

CAUGHT: list[Scene] = [scene for scenes in FROZEN["caught"].values() for scene in scenes]
SAID_AT = "2026-01-01T00:00:00+00:00"
LOOK_ALIKES = [(kind, scene) for kind, scenes in FROZEN["look_alikes"].items() for scene in scenes]


def test_every_frozen_case_is_refused_at_every_rating() -> None:
    missed = [scene for scene in CAUGHT if not all(is_refused(scene, rating) for rating in RATINGS)]
    assert missed == []


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(CAUGHT) >= 250
    assert len(LOOK_ALIKES) >= 250


def test_at_most_two_in_a_hundred_look_alikes_are_refused() -> None:
    wrongly = [scene for kind, scene in LOOK_ALIKES if is_refused(*look_alike_scene(kind, scene))]
    assert len(wrongly) <= 0.02 * len(LOOK_ALIKES), wrongly


def test_at_most_two_in_a_hundred_requests_that_only_sound_harmful_are_refused_or_taken_for_a_crisis() -> None:
    requests = [scene[0] for scene in FROZEN["look_alikes"]["requests that only sound harmful"]]
    assert len(requests) >= 200
    for rating in RATINGS:
        wrongly = [text for text in requests if is_refused([text], rating)]
        assert len(wrongly) <= 0.02 * len(requests), wrongly
    assert len([text for text in requests if find_crisis(text)]) <= 0.02 * len(requests)


@pytest.mark.parametrize("kind", sorted(BESIDE_A_STAND_IN))
def test_a_look_alike_of_an_age_or_of_force_is_judged_beside_a_sexual_signal(kind: str) -> None:
    scene, rating = look_alike_scene(kind, FROZEN["look_alikes"][kind][0])
    assert rating == "adult"
    assert is_refused(scene, "general")


def test_a_case_without_its_stand_in_is_allowed_at_every_rating() -> None:
    kinds = ("age in digits", "school", "words for minors", "other languages")
    texts = [text.replace("zqflag", "") for kind in kinds for scene in FROZEN["caught"][kind] for text in scene]
    assert [text for text in texts if is_refused([text], "general")] == []


def test_every_message_of_someone_in_a_crisis_is_found_also_within_others() -> None:
    missed = [
        text for text in FROZEN["crisis"] if not (find_crisis(text) and find_crisis(f"Well... {text}. I mean it."))
    ]
    assert missed == []


def test_at_most_two_in_a_hundred_harmless_phrases_are_taken_for_a_crisis() -> None:
    wrongly = [text for text in FROZEN["crisis_look_alikes"] if find_crisis(text)]
    assert len(wrongly) <= 0.02 * len(FROZEN["crisis_look_alikes"]), wrongly


@pytest.mark.parametrize("region", REGIONS)
def test_the_caring_answer_names_helplines_and_is_itself_no_crisis_and_no_fault(region: str) -> None:
    text = caring_answer(region)
    number = {"us": "988", "gb": "116 123", "de": "0800 1110111", "eu": "116 123", "international": "findahelpline.com"}
    assert number[region] in text
    assert not find_crisis(text) and not encourages_self_harm(text)
    assert not is_refused([text], "general")


def test_an_unknown_region_gets_the_international_answer() -> None:
    assert caring_answer("nowhere") == caring_answer("international")


# ------------------------------------------------------------------------------------------- five places, one verdict


def test_training_data_with_a_frozen_case_are_left_out() -> None:
    for scene in CAUGHT:
        messages = tuple(Message(("user", "assistant")[at % 2], text) for at, text in enumerate(scene))
        with pytest.raises(RowFault, match="a limit at every rating"):
            screen(Conversation(messages, "a.json:1"), ContentPolicy("adult"))


def test_a_card_with_a_frozen_case_is_refused() -> None:
    for scene in CAUGHT:
        with pytest.raises(GuardError):
            check_character(card_of(scene), rating="adult", where="card")


def test_lore_is_read_together_with_its_card() -> None:
    for *earlier, last in CAUGHT:
        card = card_of(earlier) if earlier else Character("Nyx")
        for is_enabled in (True, False):  # what is turned off today can be turned on tomorrow
            book = Lorebook(entries=(LoreEntry("1", keys=("x",), content=last, is_enabled=is_enabled),))
            with pytest.raises(GuardError, match="lorebook"):
                check_character(card, rating="adult", where="card", lorebooks=(book,))


def test_cards_are_refused_wherever_one_comes_in(tmp_path: Path) -> None:
    for number, scene in enumerate(sample(CAUGHT, every=25)):
        path = tmp_path / f"{number}.json"
        write_card(card_of(scene), path)
        for arguments in (
            ["new", str(tmp_path / f"made-{number}"), "--card", str(path)],
            ["card", "convert", str(path), str(tmp_path / f"out-{number}.json")],
        ):
            with pytest.raises(GuardError, match="at every rating"):
                make_app()(arguments, standalone_mode=False)
        with pytest.raises(GuardError):
            open_bot(tmp_path, a_config(character={"card": path.name}, guard={"rating": "adult"}), engine="fake")
    assert not list(tmp_path.glob("made-*")) and not list(tmp_path.glob("out-*"))


def test_no_frozen_case_gets_whole_into_memory(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "memory.sqlite")
    for number, scene in enumerate(CAUGHT):
        scope = Scope("local", f"c{number}")
        path = [Source(at, 0, "user", text, SAID_AT) for at, text in enumerate(scene, start=1)]
        assert store.follow("s", path, scope=scope).num_refused == 1
        kept = [line.text for line in store.list_lines(scope=scope, kind="turn")]
        assert not is_refused(kept, "adult")
        with pytest.raises(GuardError):
            edit_a_memory(store, number, " ".join(scene))
    store.close()


def test_a_harmless_line_after_a_refused_one_is_remembered(tmp_path: Path) -> None:
    store = MemoryStore.open(tmp_path / "memory.sqlite")
    texts = ["She is 15.", "zqflag", "We baked bread."]
    path = [Source(at, 0, "user", text, SAID_AT) for at, text in enumerate(texts, start=1)]
    assert store.follow("s", path, scope=Scope("local", "c")).num_refused == 1
    assert {line.text for line in store.list_lines(scope=Scope("local", "c"), kind="turn")} == {texts[0], texts[2]}
    store.close()


def test_no_frozen_case_comes_through_a_prompt_or_out_of_a_model(tmp_path: Path) -> None:
    engine = Letters()
    bot = Bot(
        engine,
        Character("Nyx"),
        config=a_config(guard={"rating": "adult"}, memory={"enabled": False}),
        sessions=Sessions.open(tmp_path / "chats.sqlite"),
        memory=None,
    )

    def ask(said: list[Message]) -> ReplyStream:
        return bot.completions.of_model(said, Sampling(max_new_tokens=2000), cancel=threading.Event())

    for *earlier, last in CAUGHT:
        said = [Message(("user", "assistant")[at % 2], text) for at, text in enumerate(earlier)]
        with pytest.raises(GuardError) as caught:
            ask([*said, Message("user", last)])
        assert caught.value.reason in ("content_policy", "hidden_text")  # a text that is turned around gets no further
        engine.text = last
        reply = ask(said if len(said) == 1 else [*said, Message("user", "And then?")]).read()
        assert (reply.text, reply.finish_reason) == (WITHHELD, "content_filter"), (earlier, last)
    bot.close()


class Letters(FakeGenerator):
    """Says its text one character at a time, so that no word comes in one piece."""

    text = ""

    def stream(self, prompt_ids, sampling, *, cancel) -> Iterator[Piece]:
        for number, char in enumerate(self.text, start=1):
            yield Piece(char, number)
        yield Piece("", len(self.text), "stop")


def card_of(scene: Scene) -> Character:
    """Put the texts of a scene into the fields of a card, in the order in which they are read."""
    fields = ("description", "personality", "scenario", "greeting")
    return Character("Nyx", **dict(zip(fields, scene, strict=False)))


def edit_a_memory(store: MemoryStore, number: int, text: str) -> None:
    scope = Scope("edit", f"c{number}")
    store.follow("e", [Source(1, 0, "user", "We baked bread.", SAID_AT)], scope=scope)
    [line] = store.list_lines(scope=scope, kind="turn")
    store.edit(line.memory_id, text, scope=scope)


def sample(scenes: list[Scene], *, every: int) -> list[Scene]:
    return scenes[::every]
