"""What was said is found again in its own scope, can be edited, pinned and hidden, and leads back to its turn."""

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.errors import DataError, GuardError
from duologue.memory import MemoryStore, Scope
from tests.memory.made import ANA, NOON, WordEmbedder, find, recalled, source, tell, turns

LATER = "2026-11-09T12:00:00+00:00"


def test_a_recalled_line_is_verbatim_and_carries_its_source(memory: MemoryStore) -> None:
    tell(memory, "The kettle sings.", "Tea then?", "My cat sleeps on  the — *tiny* — stove!")
    line = memory.recall("where do cats sleep?", scope=ANA, limit=1)[0]
    assert (line.text, line.speaker, line.session_id) == ("My cat sleeps on  the — *tiny* — stove!", "user", "first")
    assert (line.message_id, line.said_at, line.kind) == (3, NOON, "turn")
    assert line.score > 0


def test_words_are_found_in_other_forms_and_without_accents(memory: MemoryStore) -> None:
    tell(memory, "I was painting the café window")
    assert recalled(memory, "Which cafe did I paint?") == ["I was painting the café window"]


def test_the_answer_to_a_matching_question_is_recalled_with_it(memory: MemoryStore) -> None:
    tell(memory, "Good evening to you.", "Do you have a sister?", "Yes, Maren. She is in Oslo.")
    tell(memory, "The kettle is on the stove.", session_id="other")
    found = recalled(memory, "Tell me about my sister", limit=2)
    assert sorted(found) == ["Do you have a sister?", "Yes, Maren. She is in Oslo."]


def test_the_session_that_asks_is_left_out_or_only_what_is_before_the_model(memory: MemoryStore) -> None:
    tell(memory, "My boat is green", session_id="old")
    tell(memory, "The boat was yellow once", "A yellow boat!", "The boat is red now", session_id="present")
    assert recalled(memory, "my boat?", exclude_session="present") == ["My boat is green"]
    some = recalled(memory, "my boat?", exclude_session="present", visible={2, 3})
    assert set(some) == {"My boat is green", "The boat was yellow once"}
    assert len(recalled(memory, "my boat?")) == 4


def test_equal_and_nearly_equal_texts_are_recalled_once_but_listed_each(memory: MemoryStore) -> None:
    for number in range(4):
        tell(memory, "There was thunder over the hills all night", session_id=f"s{number}")
    tell(memory, "there was thunder over the hills, all night!", session_id="almost")
    assert len(recalled(memory, "what about thunder?")) == 1
    assert len(turns(memory)) == 5
    assert len(memory.search("thunder", scope=ANA, limit=10)) == 5


def test_lines_are_listed_newest_first(memory: MemoryStore) -> None:
    for day, text in ((3, "three"), (1, "one"), (2, "two")):
        tell(memory, text, session_id=text, at=f"2026-11-0{day}T12:00:00+00:00")
    assert [line.text for line in memory.list_lines(scope=ANA, limit=2)] == ["three", "two"]


def test_a_question_without_telling_words_recalls_nothing(memory: MemoryStore) -> None:
    tell(memory, "you and I and the")
    assert recalled(memory, "what do you and I do?") == []
    assert recalled(memory, "") == []
    assert recalled(memory, "you", limit=0) == []


def test_languages_without_spaces_are_searched_by_pairs_of_letters(memory: MemoryStore) -> None:
    tell(memory, "我的猫喜欢喝牛奶", "真的吗", "明天我要去北京出差")
    assert recalled(memory, "猫喜欢什么", limit=1) == ["我的猫喜欢喝牛奶"]


@pytest.fixture(scope="module")
def one_line(tmp_path_factory: pytest.TempPathFactory):
    store = MemoryStore.open(tmp_path_factory.mktemp("one") / "memory.sqlite")
    tell(store, "an ordinary line")
    yield store
    store.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(max_size=60) | st.text(alphabet='"*()-:^+{}ANDORNEAR \x00€', max_size=30))
def test_no_text_is_read_as_query_syntax(one_line: MemoryStore, question: str) -> None:
    one_line.recall(question, scope=ANA, limit=3)
    one_line.search(question, scope=ANA, limit=3)


names = st.sampled_from(
    [
        "",
        "ana",
        "Ana",
        "ana ",
        "../ana",
        "ana?x#y",
        "ana%",
        "ana_",
        "%",
        "*",
        "a' OR '1'='1",
        'a"b',
        "ana\u200b",
        "änna",
    ]
) | st.text(max_size=12)


@settings(max_examples=25, deadline=None)
@given(scopes=st.lists(st.builds(Scope, user=names, character=names), min_size=2, max_size=5, unique=True))
def test_nothing_said_in_one_scope_is_ever_found_in_another(
    scopes: list[Scope], tmp_path_factory: pytest.TempPathFactory
) -> None:
    memory = MemoryStore.open(tmp_path_factory.mktemp("scopes") / "memory.sqlite", embedder=WordEmbedder())
    for number, scope in enumerate(scopes):
        tell(memory, f"the secret word is marker{number}", f"and {number} besides, secret", scope=scope)
    for number, scope in enumerate(scopes):
        expected = {f"the secret word is marker{number}", f"and {number} besides, secret"}
        assert set(recalled(memory, "what is the secret word?", scope=scope, limit=99)) == expected
        assert {line.text for line in memory.search("secret besides", scope=scope, limit=99)} == expected
        assert {line.text for line in memory.list_lines(scope=scope)} == expected
        assert memory.export_markdown(scope=scope).count("secret") >= 2
        for other in scopes:
            if other != scope:
                [line, _] = memory.list_lines(scope=other)
                with pytest.raises(DataError):
                    memory.get(line.memory_id, scope=scope)
    [line, _] = memory.list_lines(scope=scopes[0])
    assert memory.forget([line.memory_id], scope=scopes[1]).num_lines == 0
    memory.close()


def test_facts_reach_another_character_only_by_choice_and_never_when_private(memory: MemoryStore) -> None:
    bo = Scope("ana", "bo")
    tell(memory, "My cat is called Biscuit. I live in Rome.", scope=ANA)
    tell(memory, "Hello there", scope=bo)
    tell(memory, "My cat is called Olive.", scope=Scope("eve", "lila"))
    assert recalled(memory, "what is my cat called?", scope=bo) == []
    assert recalled(memory, "what is my cat called?", scope=bo, shares_user_facts=True) == ["My cat is called Biscuit"]
    memory.set_private(find(memory, "My cat is called Biscuit", kind="fact").memory_id)
    assert recalled(memory, "what is my cat called?", scope=bo, shares_user_facts=True) == []


def test_an_edited_line_says_what_the_person_wrote_and_is_found_by_it(memory: MemoryStore) -> None:
    tell(memory, "The boat is green")
    line = memory.edit(find(memory, "The boat is green").memory_id, "The ship is green")
    assert (line.text, line.original, line.is_edited) == ("The ship is green", "The boat is green", True)
    assert recalled(memory, "which ship?") == ["The ship is green"]
    assert recalled(memory, "which boat?") == []
    with pytest.raises(DataError, match="empty"):
        memory.edit(line.memory_id, "  ")
    with pytest.raises(GuardError):
        memory.edit(line.memory_id, "zqflag with a schoolchild")


def test_a_pinned_line_comes_first_whatever_is_asked(memory: MemoryStore) -> None:
    tell(memory, "The boat is green", "Nice.", "The house is tall")
    pinned = find(memory, "The house is tall").memory_id
    memory.pin(pinned)
    assert recalled(memory, "the boat?")[0] == "The house is tall"
    assert memory.recall("the boat?", scope=ANA, limit=3)[0].is_pinned
    memory.pin(pinned, False)
    assert recalled(memory, "the boat?")[0] == "The boat is green"


def test_a_private_line_is_never_recalled_but_still_seen(memory: MemoryStore) -> None:
    tell(memory, "The boat is green")
    line = find(memory, "The boat is green")
    memory.pin(line.memory_id)
    memory.set_private(line.memory_id)
    assert recalled(memory, "the boat?") == []
    assert [line.is_private for line in memory.search("boats", scope=ANA, limit=5)] == [True]
    memory.set_private(line.memory_id, False)
    assert recalled(memory, "the boat?") == ["The boat is green"]


@pytest.mark.parametrize("kind", ["fact", "turn"])
def test_what_is_private_is_not_told_in_other_words_either(memory: MemoryStore, kind: str) -> None:
    tell(memory, "I live in Rome.", "Where do you live?")
    text = "I live in Rome" if kind == "fact" else "I live in Rome."
    memory.set_private(find(memory, text, kind=kind).memory_id)
    assert recalled(memory, "where do I live?") == ["Where do you live?"]
    bo = Scope("ana", "bo")
    assert recalled(memory, "where do I live?", scope=bo, shares_user_facts=True) == []


def test_what_was_recalled_a_moment_ago_cools_down_unless_pinned_or_named(memory: MemoryStore) -> None:
    tell(memory, "The boat of Maren is green", "I see.", "The old boat leaks a lot", session_id="x")
    green, leaks = find(memory, "The boat of Maren is green"), find(memory, "The old boat leaks a lot")
    cooled = {green.memory_id, leaks.memory_id}
    assert recalled(memory, "the boat?", cooled=cooled, limit=2) == ["I see."]
    assert "The boat of Maren is green" in recalled(memory, "where is the boat of Maren?", cooled=cooled)
    memory.pin(leaks.memory_id)
    assert recalled(memory, "the boat?", cooled=cooled)[0] == "The old boat leaks a lot"


def test_why_leads_to_the_turn_and_what_was_said_around_it(memory: MemoryStore) -> None:
    tell(memory, "One.", "Two.", "I live in Rome.", "Four.", "Five.", "Six.")
    why = memory.why(find(memory, "I live in Rome", kind="fact").memory_id)
    assert (why.line.session_id, why.line.message_id, why.line.said_at) == ("first", 3, NOON)
    assert [turn.text for turn in why.around] == ["One.", "Two.", "I live in Rome.", "Four.", "Five."]
    with pytest.raises(DataError, match="no memory has the number 999"):
        memory.why(999)


def test_a_contradiction_is_a_new_version_and_the_old_one_says_until_when(memory: MemoryStore) -> None:
    tell(memory, "I live in Rome.", session_id="a")
    tell(memory, "I live in Oslo now.", session_id="b", at=LATER)
    found = recalled(memory, "where do I live?")
    assert found[0] == "I live in Oslo now."
    assert "(used to be so, until 2026-11-09) I live in Rome" in found
    assert "I live in Rome." not in found  # the turn alone would tell an old truth as a present one
    why = memory.why(find(memory, "I live in Rome", kind="fact").memory_id)
    assert [(line.value, line.used_until) for line in why.versions] == [("Rome", LATER), ("Oslo", "")]
    memory.follow("b", (), scope=ANA)
    assert recalled(memory, "where do I live?") == ["I live in Rome."]


def test_saying_it_again_changes_nothing_and_many_pets_are_no_contradiction(memory: MemoryStore) -> None:
    tell(memory, "I live in Rome. My cat is called Biscuit.", session_id="a")
    tell(memory, "I live in Rome. My cat is called Olive.", session_id="b", at=LATER)
    assert {line.used_until for line in memory.list_lines(scope=ANA)} == {""}


def test_liking_becomes_disliking(memory: MemoryStore) -> None:
    tell(memory, "I love mushrooms.", session_id="a")
    tell(memory, "I don't like mushrooms.", session_id="b", at=LATER)
    versions = memory.why(find(memory, "I love mushrooms", kind="fact").memory_id).versions
    assert [(line.value, line.used_until) for line in versions] == [("likes", LATER), ("dislikes", "")]


def test_a_long_message_is_remembered_in_passages(memory: MemoryStore) -> None:
    text = " ".join(f"Sentence number {number} speaks about topic{number}." for number in range(30))
    tell(memory, text)
    lines = sorted(turns(memory), key=lambda line: line.part)
    assert len(lines) > 2 and all(len(line.text) <= 400 for line in lines)
    assert " ".join(line.text for line in lines) == text
    assert "topic17" in recalled(memory, "what about topic17?")[0]


def test_what_crosses_a_limit_of_every_rating_is_not_remembered_but_counted(memory: MemoryStore) -> None:
    followed = memory.follow("a", [source(1, "zqflag with a schoolchild"), source(2, "a boat")], scope=ANA)
    assert (followed.num_new, followed.num_refused) == (1, 1)
    assert [line.text for line in turns(memory)] == ["a boat"]


def test_a_memory_of_the_first_schema_opens_and_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    from duologue.memory.schema import MIGRATIONS

    old = sqlite3.connect(path)
    old.executescript(MIGRATIONS[0].sqlite)
    rows = [(1, "My boat is green"), (2, "first passage"), (2, "second passage")]
    old.executemany(
        "INSERT INTO memories (user, character, session_id, message_id, speaker, said_at, text)"
        f" VALUES ('ana', 'lila', 's', ?, 'user', '{NOON}', ?)",
        rows,
    )
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    memory = MemoryStore.open(path, embedder=WordEmbedder())
    assert [(line.message_id, line.part, line.text) for line in sorted(turns(memory), key=lambda n: n.memory_id)] == [
        (1, 0, "My boat is green"),
        (2, 0, "first passage"),
        (2, 1, "second passage"),
    ]
    assert recalled(memory, "the boat?")[0] == "My boat is green"
    assert memory.catch_up() == 0
    assert recalled(memory, "green boats?")[0] == "My boat is green"
    memory.close()


def test_threads_follow_and_recall_at_once(tmp_path: Path) -> None:
    memory = MemoryStore.open(tmp_path / "memory.sqlite", embedder=WordEmbedder())
    faults: list[Exception] = []

    def work(name: int) -> None:
        try:
            for number in range(8):
                texts = [f"thread{name} says number{at}" for at in range(number + 1)]
                tell(memory, *texts, session_id=str(name))
                memory.recall(f"number{number}", scope=ANA, limit=3)
        except Exception as error:  # noqa: BLE001  (any fault of a thread is the test's)
            faults.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(turns(memory)) == 32
    assert {line.session_id for line in memory.recall("number7", scope=ANA, limit=4)} == {"0", "1", "2", "3"}
    memory.close()


def test_another_process_sees_what_was_learned_and_forgotten(tmp_path: Path) -> None:
    one, two = (MemoryStore.open(tmp_path / "memory.sqlite") for _ in range(2))
    tell(one, "The boat is green")
    assert recalled(two, "the boat?") == ["The boat is green"]
    tell(one, "The boat is green", "It leaks, the boat.")
    assert len(recalled(two, "the boat?")) == 2
    one.follow("first", (), scope=ANA)
    assert recalled(two, "the boat?") == []
    one.close()
    two.close()


def test_a_damaged_memory_is_reported_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\x07" * 5000)
    before = path.read_bytes()
    with pytest.raises(DataError, match="damaged"):
        MemoryStore.open(path)
    assert path.read_bytes() == before
