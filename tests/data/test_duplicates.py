"""Exact and near duplicates: what is found, how surely, and at what cost in memory."""

import json
import random
import re
import subprocess
import sys
from itertools import pairwise
from math import sqrt
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.data.duplicates import NEAR_SIMILARITY, Duplicates, _Buckets
from duologue.data.minhash import estimate_similarity, shingle_hashes, sketch
from duologue.messages import Conversation, Message

VOCABULARY = [f"{a}{b}" for a in ("ka", "lo", "mi", "ne", "pu", "ra", "so", "te") for b in "abcdefghijklmnopqrstuvwxyz"]


def talk(*texts, source="a.json:1", system="", untrained=()):
    messages = [Message("system", system)] if system else []
    messages += [Message(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)]
    return Conversation(tuple(messages), source, frozenset(untrained))


def words(rng, num):
    return [rng.choice(VOCABULARY) for _ in range(num)]


def jaccard(one, other):
    def phrases(text):
        split = text.split()
        return {tuple(split[n : n + 3]) for n in range(len(split) - 2)}

    a, b = phrases(one), phrases(other)
    return len(a & b) / len(a | b)


STORY = " ".join(words(random.Random(1), 120))


def test_an_equal_conversation_is_an_exact_duplicate_of_the_first():
    seen = Duplicates()
    assert seen.add(talk("Tea?", "Please.", source="a.json:1")) is None
    assert seen.add(talk("Rain?", "Sun.", source="a.json:2")) is None
    found = seen.add(talk("Tea?", "Please.", source="b/x:y.json:9"))
    assert (found.kind, found.source, found.similarity) == ("exact", "a.json:1", 1.0)
    assert (seen.num_exact, seen.num_near, len(seen)) == (1, 0, 2)


@pytest.mark.parametrize(
    "source", ["a.json:1", "C:\\chats\\a b.json:12", "plain", "a:007", "a:", "x:99999999999", "ö:3"]
)
def test_the_source_is_given_back_as_it_was(source):
    seen = Duplicates()
    seen.add(talk("Tea?", "Please.", source=source))
    assert seen.add(talk("Tea?", "Please.", source="z:1")).source == source


def test_roles_and_excluded_replies_count_for_an_exact_duplicate():
    seen = Duplicates()
    seen.add(talk("ab", "cd"))
    assert seen.add(Conversation((Message("assistant", "ab"), Message("user", "cd")), "a:2")).kind == "near"
    assert seen.add(talk("ab", "cd", untrained=[1])).kind == "near"
    assert seen.add(talk("ab", "cd", untrained=[1])).kind == "exact"


def test_case_signs_and_where_messages_end_do_not_count_for_a_near_duplicate():
    seen = Duplicates()
    seen.add(talk("The kettle sings, doesn't it?", "It does - loudly!", source="a:1"))
    found = seen.add(talk("the kettle sings doesn\u2019t it? It", "\u201cDoes\u201d loudly", source="a:2"))
    assert (found.kind, found.source, found.similarity) == ("near", "a:1", 1.0)


def test_the_card_in_front_does_not_count_but_a_later_system_message_does():
    card = "You are Lila, who keeps an inn at the edge of a wood and knows every traveller by name. " * 5
    seen = Duplicates()
    seen.add(talk("Is there a room?", "There is.", system=card, source="a:1"))
    assert seen.add(talk("Who sang last night?", "My brother did.", system=card, source="a:2")) is None
    found = seen.add(talk("Is there a room?", "There is.", system="You are Otto.", source="a:3"))
    assert (found.kind, found.source) == ("near", "a:1")


def test_short_conversations_that_differ_in_a_word_are_different():
    seen = Duplicates()
    assert [seen.add(talk(f"question {n}", f"answer {n}")) for n in range(500)] == [None] * 500


def test_conversations_without_words_are_compared_exactly_only():
    seen = Duplicates()
    assert seen.add(talk("?!", "...")) is None
    assert seen.add(talk("!?", "...")) is None
    assert seen.add(talk("?!", "...")).kind == "exact"


def test_near_duplicates_in_scripts_without_spaces_are_found():
    text = "今日は天気がいいので散歩に行きましょう。公園の桜がとてもきれいだと聞きました。帰りにお茶を飲みたいです。"
    seen = Duplicates()
    seen.add(talk(text, "はい、行きましょう。", source="a:1"))
    assert seen.add(talk(text.replace("お茶", "水"), "はい、行きましょう。")).source == "a:1"
    assert seen.add(talk("明日は雨です。", "そうですか。")) is None


def test_dropped_near_duplicates_are_not_taken_up():
    chain = STORY.split()
    nearby = " ".join([*chain[:100], *words(random.Random(2), 5), *chain[105:]])
    further = " ".join([*words(random.Random(3), 14), *nearby.split()[14:]])
    assert jaccard(STORY, nearby) > 0.85 and jaccard(nearby, further) > 0.7 and jaccard(STORY, further) < 0.75
    kept, dropped = Duplicates(keeps_near=True), Duplicates(keeps_near=False)
    for index in (kept, dropped):
        index.add(talk(STORY, source="a:1"))
        assert index.add(talk(nearby, source="a:2")).source == "a:1"
    assert (len(kept), len(dropped), dropped.num_near) == (2, 1, 1)
    assert list(kept.groups()) == [0, 0] and list(dropped.groups()) == [0]


def test_one_that_resembles_two_groups_joins_them():
    rng = random.Random(4)
    one, other = words(rng, 100), words(rng, 100)
    seen = Duplicates()
    seen.add(talk("Quite another thing.", source="a:0"))
    seen.add(talk(" ".join(one), source="a:1"))
    seen.add(talk(" ".join(other), source="a:2"))
    assert list(seen.groups()) == [0, 1, 2]
    # Nine tenths of each: near the first by way of a chain of small steps.
    steps = [one[:-n] + other[-n:] for n in range(10, 100, 10)]
    for row, step in enumerate(steps, start=3):
        assert seen.add(talk(" ".join(step), source=f"a:{row}")) is not None
    groups = list(seen.groups())
    assert groups[0] == 0 and set(groups[1:]) == {1}, "the chain leads from the one to the other"


def stated_probability(similarity):
    """8 bands of 5 rows, and an estimate from 128 pairs of bits, a quarter of which agree by chance."""
    agreeing = similarity + (1 - similarity) / 4
    error = sqrt(agreeing * (1 - agreeing) / 128) / 0.75
    is_candidate = 1 - (1 - similarity**5) ** 8
    return is_candidate * (1 - NormalDist(similarity, error).cdf(NEAR_SIMILARITY))


@pytest.mark.parametrize("num_changed", [4, 8, 12, 16, 22, 30, 45])
def test_edited_conversations_are_found_with_the_stated_probability(num_changed):
    """Of 400 words so many are changed: from a similarity of 0.94, where all are found, to 0.49, where none is."""
    rng = random.Random(num_changed)
    num_pairs, num_found, expected = 200, 0, 0.0
    for _ in range(num_pairs):
        text = words(rng, 400)
        edited = list(text)
        for place in rng.sample(range(len(text)), num_changed):
            edited[place] = rng.choice(VOCABULARY)
        expected += stated_probability(jaccard(" ".join(text), " ".join(edited)))
        seen = Duplicates()
        seen.add(talk(" ".join(text)))
        num_found += seen.add(talk(" ".join(edited), source="a:2")) is not None
    share = expected / num_pairs
    error = sqrt(share * (1 - share) / num_pairs)
    assert abs(num_found / num_pairs - share) <= 3 * error + 0.01


EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(["drop", "put", "change", "swap"])), max_size=3)


@settings(max_examples=60)
@given(EDITS, st.integers(0, 10_000))
def test_up_to_three_edited_words_of_four_hundred_are_always_found(edits, seed):
    text = words(random.Random(seed), 400)
    edited = list(text)
    for place, edit in edits:
        at = place % (len(edited) - 1)
        if edit == "drop":
            del edited[at]
        elif edit == "put":
            edited.insert(at, "zzz")
        elif edit == "change":
            edited[at] = "zzz"
        else:
            edited[at], edited[at + 1] = edited[at + 1], edited[at]
    seen = Duplicates()
    seen.add(talk(" ".join(text)))
    assert seen.add(talk(" ".join(edited), source="a:2")) is not None


@given(st.text(alphabet="ab c\u00e9.,\n", max_size=40), st.text(alphabet="ab c\u00e9.,\n", max_size=40))
def test_the_estimate_is_one_for_equal_phrases_and_the_hashes_are_those_of_phrases(one, other):
    def phrases(text):
        split = re.findall(r"[^\W_]+", text.lower())
        return {tuple(split[n : n + 3]) for n in range(max(1, len(split) - 2))} if split else set()

    assert len(set(shingle_hashes(one).tolist())) == len(phrases(one))
    is_equal = phrases(one) == phrases(other)
    assert (set(shingle_hashes(one).tolist()) == set(shingle_hashes(other).tolist())) == is_equal
    if phrases(one) and is_equal:
        assert estimate_similarity(sketch(one).signature, sketch(other).signature) == 1.0


def test_a_text_longer_than_a_block_hashes_as_its_words_do():
    rng = random.Random(5)
    split = words(rng, 60_000)
    whole = shingle_hashes(" ".join(split))
    assert len(whole) == 59_998
    for start in (0, 21_000, 43_690, 59_900):
        part = shingle_hashes(" ".join(split[start : start + 50]))
        assert whole[start : start + 48].tolist() == part.tolist()
    blob = shingle_hashes("a picture follows " + "q" * 300_000 + " that was it")
    assert len(blob) >= 5


def test_groups_do_not_depend_on_the_order():
    rng = random.Random(6)
    texts = []
    for _ in range(12):
        base = words(rng, 100)
        texts += [" ".join([*base[:-n], *words(rng, n)]) if n else " ".join(base) for n in (0, 3, 6, 9)]
    ways = []
    for order in range(4):
        shuffled = random.Random(order).sample(texts, len(texts))
        seen = Duplicates()
        for row, text in enumerate(shuffled):
            seen.add(talk(text, source=f"a:{row}"))
        groups = {}
        for text, group in zip(shuffled, seen.groups(), strict=True):
            groups.setdefault(group, set()).add(text)
        ways.append({frozenset(members) for members in groups.values()})
    assert len(ways[0]) == 12
    assert all(one == other for one, other in pairwise(ways))


def test_a_sketch_is_equal_in_every_process():
    code = "from duologue.data.minhash import sketch; print(sketch('the kettle sings in the early morning'))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{sketch('the kettle sings in the early morning')}\n"


def test_the_index_takes_about_150_bytes_per_conversation():
    seen = Duplicates()
    for row in range(8000):
        seen.add(talk(f"question {row}", f"answer {row}", source=f"a.json:{row}"))
        if row >= 6000 and row % 100 == 0:  # right after the table has grown, too
            assert seen.num_bytes / len(seen) < 175
    assert len(seen) == 8000


def test_keys_are_found_again_after_the_table_has_grown():
    rng = random.Random(7)
    buckets = _Buckets()
    rows = [tuple(rng.randrange(1, 2**32) for _ in range(9)) for _ in range(12_000)]
    for keys in rows:
        buckets.append(keys)
    for index in rng.sample(range(len(rows)), 500):
        assert all(index in buckets.find(key) for key in rows[index])
    assert buckets.find(0xDEADBEEF) == []


def test_a_bucket_lists_its_first_conversations_only_and_stays_quick():
    buckets = _Buckets()
    for row in range(200):
        buckets.append((7, *(row * 9 + n + 100 for n in range(8))))
    assert buckets.find(7) == list(range(32))
    assert buckets.find(199 * 9 + 100) == [199]


def test_real_conversations_hold_no_duplicates_and_edited_copies_are_all_found(shared_data):
    lines = (shared_data / "personachat_messages.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:300]]
    conversations = [
        Conversation(tuple(Message(m["role"], m["content"]) for m in row["messages"]), f"a:{n}")
        for n, row in enumerate(rows)
        if len(row["messages"]) > 2
    ]
    seen = Duplicates()
    assert [seen.add(conversation) for conversation in conversations] == [None] * len(conversations)
    rng = random.Random(8)
    for conversation in conversations:
        texts = [message.content for message in conversation.messages]
        place = rng.randrange(1, len(texts))
        texts[place] = texts[place].replace(".", "!", 1).upper() + " Indeed."
        messages = tuple(Message(m.role, text) for m, text in zip(conversation.messages, texts, strict=True))
        found = seen.add(Conversation(messages, "b:1"))
        assert (found.kind, found.source) == ("near", conversation.source)
