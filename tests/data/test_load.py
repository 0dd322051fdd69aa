"""Files to splits: every row used or dropped for a reason, whatever is in the files."""

import gzip
import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.config import make_config
from duologue.data import LoadSettings, load_files, load_splits, resolve_files
from duologue.data.load import find_unknown_speakers
from duologue.errors import DataError
from duologue.messages import Message

TALK = [("user", "Is the train late?"), ("assistant", "Four minutes early.")]
GOOD = {"instruction": "Which platform?", "output": "Nine, passenger."}
TELEGRAM = {
    "name": "Ada",
    "type": "personal_chat",
    "id": 1,
    "messages": [
        {"id": n, "type": "message", "date": f"2026-03-0{day}T20:0{n}:00", "from": name, "from_id": name, "text": text}
        for n, (day, name, text) in enumerate(
            [
                (1, "Ben", "Are you on the night train?"),
                (1, "Ada", "I drive it."),
                (2, "Ben", "Where is she?"),
                (2, "Cleo", "Asleep, I think."),
                (3, "Ben", "Hello again."),
                (3, "Ada", "Always."),
            ],
            start=1,
        )
    ],
}


def write(folder, name, content):
    path = folder / name
    data = content if isinstance(content, (str, bytes)) else json.dumps(content)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def load(tmp_path, content, name="x.json", **settings):
    loaded = load_files([write(tmp_path, name, content)], settings=LoadSettings(**settings))
    assert_adds_up(loaded)
    return loaded


def assert_adds_up(loaded):
    account = loaded.account
    for file in account.files:
        assert file.num_rows == file.num_loaded + file.num_dropped
        assert sum(file.dropped.values()) == file.num_dropped
        assert all(fault.row >= 0 for fault in file.faults)
        if file.num_dropped:
            assert any(fault.is_dropped or fault.action == "row left out" for fault in file.faults)
    assert account.num_conversations == len(loaded.conversations) == len(loaded.groups)
    assert account.num_turns == sum(c.num_turns for c in loaded.conversations)
    json.dumps(account.as_json())


def config_for(seed=0, card="", **data):
    tree = {"run": {"seed": seed}, "model": {"base": "m"}, "data": {"train": ["*.json"], **data}}
    return make_config({**tree, "character": {"card": card}}, where="test")


def talks(count):
    """Conversations that have little in common."""
    rng = random.Random(7)
    words = ["lamp", "coal", "steam", "ticket", "bridge", "owl", "river", "clock", "signal", "tea", "rain", "ledger"]
    return [
        {"instruction": " ".join(rng.choices(words, k=12)) + f" {n}?", "output": " ".join(rng.choices(words, k=14))}
        for n in range(count)
    ]


def test_a_file_gives_its_conversations_and_an_account_of_its_rows(tmp_path):
    loaded = load(tmp_path, [{"messages": [{"role": r, "content": c} for r, c in TALK]}, GOOD])
    assert [c.messages for c in loaded.conversations] == [
        tuple(Message(role, text) for role, text in TALK),
        (Message("user", GOOD["instruction"]), Message("assistant", GOOD["output"])),
    ]
    [file] = loaded.account.files
    assert file.format == "alpaca + messages"
    assert (file.num_rows, file.num_loaded, file.num_dropped, loaded.account.num_refused) == (2, 2, 0, 0)
    assert [c.source for c in loaded.conversations] == [f"{tmp_path / 'x.json'}:1", f"{tmp_path / 'x.json'}:2"]


@pytest.mark.parametrize(
    "row, field, reason",
    [
        ({"text": "x"}, "", "unknown format"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "unknown role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "null"),
        ({"instruction": "q", "output": "  \n"}, "output", "empty"),
        ({"instruction": "q", "output": "\ud83d"}, "output", "surrogate"),
    ],
)
def test_a_faulty_row_is_dropped_and_named(tmp_path, row, field, reason):
    loaded = load(tmp_path, [GOOD, row])
    assert len(loaded.conversations) == 1
    [fault] = loaded.account.faults
    assert (fault.row, fault.field, fault.action) == (2, field, "row dropped")
    assert reason in fault.reason


def test_all_files_are_reported_together_and_none_raises(tmp_path):
    paths = [write(tmp_path, "good.json", [GOOD]), tmp_path / "missing.json", tmp_path]
    paths += [write(tmp_path, "empty.json", ""), write(tmp_path, "broken.json", "[{")]
    loaded = load_files(paths, settings=LoadSettings())
    assert_adds_up(loaded)
    assert len(loaded.conversations) == 1
    assert [bool(file.faults) for file in loaded.account.files] == [False, True, True, True, True]
    assert loaded.account.num_refused >= 4


def test_a_bad_line_among_good_ones_is_named_and_the_rest_is_used(tmp_path):
    lines = [json.dumps(row) for row in talks(1000)]
    lines[617] = '{"instruction": "q", '
    loaded = load(tmp_path, "\n".join(lines), name="x.jsonl")
    assert len(loaded.conversations) == 999
    assert [fault.row for fault in loaded.account.faults if fault.is_refused] == [618]


def test_equal_conversations_count_once_over_all_files_and_are_no_fault(tmp_path):
    rows = [GOOD, {"instruction": "Who takes the tickets?", "output": "I do."}]
    paths = [write(tmp_path, "a.json", rows), write(tmp_path, "b.json", rows[:1])]
    loaded = load_files(paths, settings=LoadSettings())
    assert_adds_up(loaded)
    assert len(loaded.conversations) == 2 and loaded.account.duplicates.exact == 1
    assert loaded.account.files[1].num_dropped == 1 and loaded.account.num_refused == 0
    [fault] = loaded.account.faults
    assert fault.action == "duplicate dropped" and "a.json:1" in fault.reason


def nearly_equal():
    text = "The lamps along the river burn low tonight, and the owl on the signal has not moved since Marlow. "
    return [
        {"instruction": "What do you see from the window?", "output": text * 3 + "Sleep well."},
        {"instruction": "What do you see from the window?", "output": text * 3 + "Sleep tight."},
        *talks(10),
    ]


def test_near_duplicates_are_counted_and_kept_or_dropped(tmp_path):
    kept = load(tmp_path, nearly_equal())
    assert len(kept.conversations) == 12
    assert (kept.account.duplicates.near, kept.account.duplicates.groups) == (1, 1)
    assert kept.groups[0] == kept.groups[1] and len(set(kept.groups)) == 11
    dropped = load(tmp_path, nearly_equal(), near_duplicates="drop")
    assert len(dropped.conversations) == 11 and dropped.account.files[0].num_dropped == 1
    assert [fault.action for fault in dropped.account.faults] == ["duplicate dropped"]


def test_near_duplicates_are_never_in_two_splits(tmp_path):
    write(tmp_path, "a.json", nearly_equal())
    for seed in range(12):
        splits = load_splits(config_for(seed, validation_fraction=0.5), tmp_path)
        sides = [any("window" in c.messages[0].content for c in side) for side in (splits.train, splits.validation)]
        assert sides != [True, True]


def test_a_row_that_the_content_policy_refuses_is_dropped_without_being_quoted(tmp_path):
    loaded = load(tmp_path, [GOOD, {"instruction": "zqflag please", "output": "no"}])
    assert len(loaded.conversations) == 1
    assert "zqflag" not in json.dumps(loaded.account.as_json())
    assert loaded.account.faults[0].row == 2 and "content policy" in loaded.account.faults[0].reason
    assert len(load(tmp_path, [{"instruction": "zqflag please", "output": "no"}], rating="adult").conversations) == 1


@pytest.mark.parametrize("setting, kept, action", [("keep", 2, "kept"), ("redact", 2, "masked"), ("drop", 1, None)])
def test_personal_data_is_counted_and_kept_masked_or_left_out(tmp_path, setting, kept, action):
    row = {"instruction": "Write to ada@example.org, please.", "output": "I shall."}
    loaded = load(tmp_path, [GOOD, row], personal_data=setting)
    assert len(loaded.conversations) == kept
    assert loaded.account.num_refused == 0
    [fault] = loaded.account.faults
    assert (fault.row, fault.field) == (2, "instruction")
    assert fault.action == (action or "row left out") and "ada@" not in fault.reason
    texts = "".join(m.content for c in loaded.conversations for m in c.messages)
    assert ("ada@example.org" in texts) == (setting == "keep")
    assert loaded.account.personal_data == ({"e-mail": 1} if action else {})


def test_a_log_is_cast_as_a_whole_and_parts_without_a_reply_are_left_out(tmp_path):
    loaded = load(tmp_path, TELEGRAM, character_names=("Ada",))
    assert [[m.content for m in c.messages] for c in loaded.conversations] == [
        ["Are you on the night train?", "I drive it."],
        ["Hello again.", "Always."],
    ]
    [file] = loaded.account.files
    assert (file.num_rows, file.num_loaded, file.num_dropped) == (6, 4, 2)
    assert loaded.account.num_refused == 0


def test_a_log_that_does_not_say_who_is_who_is_refused_with_the_names(tmp_path):
    loaded = load(tmp_path, TELEGRAM)
    [fault] = [fault for fault in loaded.account.faults if fault.is_refused]
    assert "Ada" in fault.reason and "Ben" in fault.reason and "--as" in fault.reason
    assert loaded.account.files[0].num_dropped == 6
    unknown = find_unknown_speakers([tmp_path / "x.json"], LoadSettings())
    assert unknown == Counter({"Ben": 3, "Ada": 2, "Cleo": 1})
    assert not find_unknown_speakers([tmp_path / "x.json"], LoadSettings(user_names=("Ben", "Cleo")))


def test_the_cards_name_says_who_is_the_character(tmp_path):
    write(tmp_path, "log.json", TELEGRAM)
    write(tmp_path, "card.txt", {"name": "Ada"})
    (tmp_path / "card.txt").rename(tmp_path / "card.JSON")
    splits = load_splits(config_for(card="card.JSON", train=["log.json"]), tmp_path)
    assert len(splits.train) + len(splits.validation) == 2


def test_a_log_in_which_nobody_replies_is_refused(tmp_path):
    messages = [message for message in TELEGRAM["messages"] if message["from"] == "Ben"]
    loaded = load(tmp_path, {**TELEGRAM, "messages": messages}, user_names=("Ben",))
    assert loaded.conversations == () and loaded.account.num_refused >= 1


def test_splits_are_repeatable_and_stable_when_rows_are_added(tmp_path):
    rows = talks(200)
    write(tmp_path, "a.json", rows)
    config = config_for(validation_fraction=0.2)
    first, again = load_splits(config, tmp_path), load_splits(config, tmp_path)
    assert first == again
    assert 20 <= len(first.validation) <= 60
    held_out = {c.messages for c in first.validation}
    assert not held_out & {c.messages for c in first.train}
    write(tmp_path, "b.json", [{**row, "instruction": "Other. " + row["output"]} for row in talks(100)])
    grown = load_splits(config, tmp_path)
    assert held_out <= {c.messages for c in grown.validation}
    assert {c.messages for c in first.train} <= {c.messages for c in grown.train}
    counts = grown.account.splits
    assert (counts.train, counts.validation) == (len(grown.train), len(grown.validation))


def test_another_seed_holds_out_other_conversations(tmp_path):
    write(tmp_path, "a.json", talks(100))
    one, two = (load_splits(config_for(seed), tmp_path) for seed in (0, 1))
    assert {c.source for c in one.validation} != {c.source for c in two.validation}


def test_two_conversations_are_enough_to_hold_one_out(tmp_path):
    write(tmp_path, "a.json", talks(2))
    splits = load_splits(config_for(validation_fraction=0.01), tmp_path)
    assert (len(splits.train), len(splits.validation)) == (1, 1)


def test_weights_repeat_skip_and_thin_out_a_file_in_training_only(tmp_path):
    rows = talks(400)
    for name, part in (("a", rows[:100]), ("b", rows[100:200]), ("c", rows[200:300]), ("d", rows[300:])):
        write(tmp_path, f"{name}.json", part)
    weights = {"b.json": 2.5, "[c]*": 0, "d.json": 0.25}
    plain = load_splits(config_for(), tmp_path)
    splits = load_splits(config_for(weights=weights), tmp_path)
    assert splits.validation == plain.validation
    seen = Counter()
    for conversation, times in zip(splits.train, splits.times, strict=True):
        seen[conversation.source.rpartition("/")[2][0]] += times
    in_train = Counter(c.source.rpartition("/")[2][0] for c in plain.train)
    assert seen["a"] == in_train["a"] and seen["c"] == 0
    assert 2.2 * in_train["b"] < seen["b"] < 2.8 * in_train["b"]
    assert 0.1 * in_train["d"] < seen["d"] < 0.4 * in_train["d"]
    assert all(times >= 1 for times in splits.times)
    assert splits.account.splits.train_per_epoch == sum(seen.values())
    assert [file.weight for file in splits.account.files] == [1, 2.5, 0, 0.25]
    assert splits == load_splits(config_for(weights=weights), tmp_path)


def test_a_weight_without_a_file_is_an_error(tmp_path):
    write(tmp_path, "a.json", talks(3))
    with pytest.raises(DataError, match=r"no file .* 'b\.json'"):
        load_splits(config_for(weights={"b.json": 2}), tmp_path)


def test_strict_loading_stops_at_faulty_rows_and_lists_them(tmp_path):
    write(tmp_path, "a.json", [GOOD, {"x": 1}, {"y": 2}])
    with pytest.raises(DataError, match=r"2 rows or files have faults") as caught:
        load_splits(config_for(skip_faulty_rows=False), tmp_path)
    assert "a.json:2" in str(caught.value) and "a.json:3" in str(caught.value)


def test_data_without_a_usable_conversation_is_an_error_that_says_why(tmp_path):
    write(tmp_path, "a.json", [{"x": 1}])
    with pytest.raises(DataError, match="no usable conversation") as caught:
        load_splits(config_for(), tmp_path)
    assert "unknown format" in str(caught.value)


def test_patterns_expand_sorted_and_an_empty_match_is_an_error(tmp_path):
    for name in ("b.json", "a.json"):
        write(tmp_path, name, [])
    assert [path.name for path in resolve_files(["*.json", "a.json"], tmp_path)] == ["a.json", "b.json"]
    assert resolve_files([str(tmp_path / "*.json")], tmp_path / "elsewhere")[0].name == "a.json"
    with pytest.raises(DataError, match="no file matches"):
        resolve_files(["*.csv"], tmp_path)


def test_real_conversations_load_and_add_up(shared_data):
    names = ["personachat_sharegpt.json", "personachat_messages.jsonl", "roleplay_alpaca.json"]
    loaded = load_files([shared_data / name for name in names], settings=LoadSettings())
    assert_adds_up(loaded)
    assert [file.format for file in loaded.account.files] == ["sharegpt", "messages", "alpaca"]
    assert loaded.account.num_conversations > 2900


# What people do to files.

SAMPLES = [
    json.dumps([GOOD, {"messages": [{"role": r, "content": c} for r, c in TALK]}]).encode(),
    "\n".join(json.dumps(row) for row in talks(4)).encode(),
    json.dumps({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}).encode(),
    b'prompt,completion\nhi,hello\n"a, b",c\n',
    json.dumps(TELEGRAM).encode(),
    b'{"user_name":"Ben","character_name":"Ada"}\n{"name":"Ben","is_user":true,"mes":"hi"}\n'
    b'{"name":"Ada","is_user":false,"mes":"hello"}',
    b"01.03.26, 20:01 - Ben: hi\n01.03.26, 20:02 - Ada: hello\nand more\n01.03.26, 20:03 - Ben: <Media omitted>",
    gzip.compress(json.dumps([GOOD]).encode()),
    json.dumps([GOOD]).encode("utf-16"),
]
BITS = [
    b"",
    b"\x00",
    b"\xff",
    b"\n",
    b"{",
    b"]",
    b'"',
    b",",
    b"null",
    b"NaN",
    b"[" * 50,
    b"\xed\xa0\xbd",
    b"\xef\xbb\xbf",
]
BITS += [
    b'"role"',
    b'"messages":[]',
    b"\\ud83d",
    b"zqflag",
    b"1e999",
    b'"content": 7',
    b"\r",
    b"a@example.org",
    b"((x))",
]
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(BITS)),
    max_size=4,
)
KEYS = [
    "messages",
    "role",
    "content",
    "from",
    "value",
    "conversations",
    "instruction",
    "output",
    "prompt",
    "completion",
]
KEYS += [
    "input",
    "system",
    "mes",
    "is_user",
    "user_name",
    "chat_metadata",
    "data",
    "type",
    "name",
    "history",
    "internal",
]
KEYS += ["visible", "actions", "savedsettings", "histories", "msgs", "chat", "guild", "channel", "author", "text", "id"]
KEYS += ["weight", "user", "assistant", "personal_chat", "date", "timestamp", "is_human", "src", "msg", "currentId"]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(KEYS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
choices = st.sampled_from(
    [
        {},
        {"character_names": ("Ada",)},
        {"user_names": ("Ben",), "strip_asides": True},
        {"near_duplicates": "drop", "personal_data": "drop", "train_on_greeting": True},
    ]
)


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES), edits, choices)
def test_a_file_edited_at_random_never_raises_and_adds_up(tmp_path_factory, sample, script, chosen):
    content = sample
    for place, length, bit in script:
        begin = int(place * len(content))
        content = content[:begin] + bit + content[begin + length :]
    load(tmp_path_factory.mktemp("edited"), content, **chosen)


@settings(max_examples=200)
@given(st.lists(json_values, max_size=4), choices, st.booleans())
def test_rows_made_at_random_never_raise_and_add_up(tmp_path_factory, rows, chosen, is_lines):
    text = "\n".join(map(json.dumps, rows)) if is_lines else json.dumps(rows)
    load(tmp_path_factory.mktemp("made"), text, **chosen)
