"""Lila Quill, who ships with duologue: her card, her picture and her three datasets."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import pytest
from PIL import Image

from duologue.characters import LILA_FOLDER, lila_data_files, load_character
from duologue.prompt import system_text

MIN_REPLIES = 600  # the promise of the first release
OPENING = re.compile(r"^\*([^*]{5,60})\* \S")
WORD = re.compile(r"[a-z0-9'-]+")


def conversations() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (file name, [(role, text), ...]) for every conversation, whatever its format."""
    messages, sharegpt, alpaca = (json.loads(path.read_text(encoding="utf-8")) for path in lila_data_files())
    roles = {"human": "user", "gpt": "assistant"}
    for row in messages:
        yield "messages", [(message["role"], message["content"]) for message in row["messages"]]
    for row in sharegpt:
        yield "sharegpt", [(roles[message["from"]], message["value"]) for message in row["conversations"]]
    for row in alpaca:
        asked = f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
        yield "alpaca", [("user", asked), ("assistant", row["output"])]


REPLIES = [text for _, turns in conversations() for role, text in turns if role == "assistant"]
QUESTIONS = [text for _, turns in conversations() for role, text in turns if role == "user"]


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


STATIONS = set(words("Ashby Hollow, Thimble Cross, Salt Wharf, Lantern Hill, Orrery Junction, Quiet Halt"))


def test_three_files_in_three_formats_hold_at_least_600_replies():
    messages, sharegpt, alpaca = (json.loads(path.read_text(encoding="utf-8")) for path in lila_data_files())

    assert all(set(row) == {"messages"} for row in messages)
    assert all({"conversations"} <= set(row) for row in sharegpt)
    assert all(set(row) == {"instruction", "input", "output"} for row in alpaca)
    assert len(REPLIES) >= MIN_REPLIES
    assert min(Counter(name for name, _ in conversations()).values()) >= 40


def test_some_alpaca_rows_use_the_input_field():
    alpaca = json.loads(lila_data_files()[2].read_text(encoding="utf-8"))

    assert sum(bool(row["input"]) for row in alpaca) >= 10


def test_conversations_alternate_and_end_with_lila():
    for name, turns in conversations():
        roles = [role for role, _ in turns]
        assert roles[-1] == "assistant", (name, turns)
        assert all(a != b for a, b in pairwise(roles)), (name, turns)
        assert all(text.strip() == text and text for _, text in turns), (name, turns)


def test_every_reply_opens_with_one_short_action():
    for reply in REPLIES:
        assert OPENING.match(reply), reply
        assert reply.count("*") == 2, reply
        assert 2 <= len(reply.split("*")[1].split()) <= 8, reply


def test_no_opening_action_is_used_twice():
    actions = Counter(reply.split("*")[1] for reply in REPLIES)

    assert [action for action, times in actions.items() if times > 1] == []


def test_no_reply_shouts_lists_or_falls_out_of_her_voice():
    forbidden = re.compile(r"!|#|^\s*[-•\d]+[.)] |https?:|\bAI\b|language model|\b(darling|sweetheart)\b", re.M)

    for reply in REPLIES:
        assert not forbidden.search(reply), reply
        assert all(ord(character) < 0x2000 for character in reply), reply  # no emoji, no typographic tricks


def test_replies_have_the_length_of_speech():
    lengths = sorted(len(reply.split()) for reply in REPLIES)

    assert lengths[0] >= 8
    assert lengths[-1] <= 80
    assert 20 <= lengths[len(lengths) // 2] <= 55


def test_most_replies_call_the_other_person_passenger():
    share = sum("passenger" in words(reply) for reply in REPLIES) / len(REPLIES)

    assert 0.7 <= share <= 0.9


def test_no_seven_words_in_a_row_are_shared_by_two_replies():
    seen: dict[str, set[int]] = defaultdict(set)
    for number, reply in enumerate(REPLIES):
        spoken = words(reply)
        for start in range(len(spoken) - 6):
            seen[" ".join(spoken[start : start + 7])].add(number)

    assert sorted(run for run, numbers in seen.items() if len(numbers) > 1) == []


def test_no_two_replies_are_near_duplicates():
    spoken = [set(words(reply)) - STATIONS for reply in REPLIES]
    near = [
        (REPLIES[i], REPLIES[j])
        for i, a in enumerate(spoken)
        for j, b in enumerate(spoken[i + 1 :], start=i + 1)
        if len(a & b) > 0.35 * len(a | b)
    ]

    assert near == []


def test_no_question_is_asked_twice_in_the_same_words():
    asked = Counter(" ".join(words(question)) for question in QUESTIONS if len(words(question)) > 2)

    assert [question for question, times in asked.items() if times > 1] == []


def test_her_world_stays_the_same():
    text = " ".join(REPLIES)

    for place in ("Ashby Hollow", "Thimble Cross", "Salt Wharf", "Lantern Hill", "Orrery Junction", "Quiet Halt"):
        assert text.count(place) >= 5, place
    for somebody in ("Bram", "Mrs Odell", "Semaphore", "Perpetua", "Old Patience"):
        assert text.count(somebody) >= 5, somebody


def test_her_trains_leave_and_arrive_between_midnight_and_five():
    for hour, minute in re.findall(r"\bIt is (\d{1,2}):(\d\d)\b", " ".join(REPLIES)):
        assert int(hour) in (12, 1, 2, 3, 4, 5)
        assert int(minute) < 60


# ---------------------------------------------------------------------------------------------------------------- card


@pytest.fixture(scope="module")
def lila():
    return load_character(LILA_FOLDER / "character.png")


def test_the_card_names_her_and_is_short_enough_to_stand_before_every_example(lila):
    text = system_text(lila, user_name="Traveller")

    assert lila.name == "Lila Quill"
    assert text.startswith("You are Lila Quill. ")
    assert 40 <= len(text.split()) <= 75
    assert "{{" not in text


def test_the_greetings_are_in_her_voice_and_not_part_of_the_training_data(lila):
    for greeting in (lila.greeting, *lila.alternate_greetings):
        assert OPENING.match(greeting)
        assert "passenger" in greeting
        assert "!" not in greeting
        assert greeting not in REPLIES
    assert len(lila.alternate_greetings) == 2


def test_the_card_in_the_picture_is_the_one_beside_the_script_that_draws_it(lila, repository):
    source = load_character(repository / "scripts" / "lila.json")

    assert lila.as_v2() == source.as_v2()


def test_the_picture_has_the_shape_of_a_card():
    with Image.open(LILA_FOLDER / "character.png") as image:
        image.verify()
        assert image.size == (512, 768)
    assert (LILA_FOLDER / "character.png").stat().st_size < 2**20
