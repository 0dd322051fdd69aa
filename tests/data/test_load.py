"""Files to conversations: formats, faults, duplicates, splits."""

import json

import pytest

from duologue.config import make_config
from duologue.data import load_files, load_splits, resolve_files
from duologue.errors import DataError
from duologue.guard import ContentPolicy
from duologue.messages import Message

GENERAL = ContentPolicy("general")


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def load_one(tmp_path, content, name="x.json"):
    return load_files([write(tmp_path, name, content)], policy=GENERAL)


def config_for(**data):
    return make_config({"model": {"base": "m"}, "data": {"train": ["*.json"], **data}}, where="test")


TALK = [("user", "Is the train late?"), ("assistant", "Four minutes early.")]


@pytest.mark.parametrize(
    "row, expected_format",
    [
        ({"messages": [{"role": r, "content": c} for r, c in TALK]}, "messages"),
        ({"messages": [{"role": r, "content": [{"type": "text", "text": c}]} for r, c in TALK]}, "messages"),
        (
            {"conversations": [{"from": {"user": "human", "assistant": "gpt"}[r], "value": c} for r, c in TALK]},
            "sharegpt",
        ),
        ({"instruction": TALK[0][1], "input": "", "output": TALK[1][1]}, "alpaca"),
        ({"instruction": TALK[0][1], "response": TALK[1][1]}, "alpaca"),
    ],
)
def test_each_format_is_detected_and_gives_the_same_conversation(tmp_path, row, expected_format):
    [conversation], account = load_one(tmp_path, [row])
    assert conversation.messages == tuple(Message(role, content) for role, content in TALK)
    assert account.files[0].format == expected_format
    assert (account.num_conversations, account.num_turns, account.num_dropped) == (1, 1, 0)


def test_the_alpaca_input_follows_the_instruction(tmp_path):
    [conversation], _ = load_one(tmp_path, [{"instruction": "Shorten.", "input": "A long text.", "output": "Text."}])
    assert conversation.messages[0] == Message("user", "Shorten.\n\nA long text.")


def test_a_sharegpt_system_text_comes_first(tmp_path):
    row = {"system": "Be brief.", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    [conversation], _ = load_one(tmp_path, [row])
    assert conversation.messages[0] == Message("system", "Be brief.")


def test_json_lines_with_any_ending_and_a_byte_order_mark_load(tmp_path):
    lines = "\n".join(json.dumps({"instruction": f"q{n}", "output": f"a{n}"}) for n in range(3))
    conversations, account = load_one(tmp_path, "\ufeff" + lines, name="x.txt")
    assert len(conversations) == 3 and account.files[0].num_rows == 3


def test_one_object_over_several_lines_is_one_row(tmp_path):
    conversations, _ = load_one(tmp_path, json.dumps({"instruction": "q", "output": "a"}, indent=2))
    assert len(conversations) == 1


@pytest.mark.parametrize(
    "row, field, reason",
    [
        ({"text": "x"}, "", "unknown format"),
        (["x"], "", "a row is an object; found a JSON list"),
        ({"messages": "x"}, "messages", "expected a list"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", 'unknown role "wizard"'),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "found a JSON null"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "found a JSON number"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "found a JSON null"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "", "no assistant message"),
        ({"instruction": "q"}, "output", "missing"),
        ({"instruction": "q", "output": "  \n"}, "messages[1].content", "the assistant message is empty"),
        ({"instruction": "q", "output": "a\u0000b"}, "output", "NUL"),
        ({"messages": []}, "", "no assistant message"),
    ],
)
def test_a_faulty_row_is_dropped_and_named(tmp_path, row, field, reason):
    good = {"instruction": "q", "output": "a"}
    conversations, account = load_one(tmp_path, [good, row])
    assert len(conversations) == 1
    [fault] = account.faults
    assert (fault.row, fault.field) == (2, field)
    assert reason in fault.reason and fault.is_dropped


def test_a_bad_line_among_good_ones_is_named_and_the_rest_is_used(tmp_path):
    lines = [json.dumps({"instruction": f"q{n}", "output": "a"}) for n in range(1000)]
    lines[617] = '{"instruction": "q", '
    conversations, account = load_one(tmp_path, "\n".join(lines))
    assert len(conversations) == 999
    assert [fault.row for fault in account.faults] == [618]


@pytest.mark.parametrize("text", ['[{"a": NaN}]', '[{"a": Infinity}]', '[{"a": 1, "a": 2}]', "[{", "[" * 100_000])
def test_what_is_not_strict_json_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="this is not JSON"):
        load_one(tmp_path, text)


def test_an_empty_file_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="no rows"):
        load_one(tmp_path, "")
    with pytest.raises(DataError, match="no rows"):
        load_one(tmp_path, "[]")
    with pytest.raises(DataError, match="cannot be read"):
        load_files([tmp_path / "missing.json"], policy=GENERAL)
    with pytest.raises(DataError, match="cannot be read"):
        load_files([tmp_path], policy=GENERAL)


def test_latin_1_is_refused_with_the_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"instruction": "a", "output": "b"}\n{"instruction": "caf\xe9", "output": "b"}')
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        load_files([path], policy=GENERAL)


def test_neighbours_of_one_speaker_are_merged_and_counted(tmp_path):
    row = {"messages": [{"role": r, "content": c} for r, c in [("user", "a"), ("user", "b"), ("assistant", "c")]]}
    [conversation], account = load_one(tmp_path, [row])
    assert conversation.messages == (Message("user", "a\nb"), Message("assistant", "c"))
    assert account.reasons() == {"two user messages in a row (merged)": 1}


def test_a_last_message_without_reply_is_left_out_and_counted(tmp_path):
    row = {"messages": [{"role": r, "content": c} for r, c in [*TALK, ("user", "bye")]]}
    [conversation], account = load_one(tmp_path, [row])
    assert len(conversation.messages) == 2
    assert account.reasons() == {"the last user message has no reply (left out)": 1}


def test_a_system_message_in_the_middle_moves_to_the_front_and_is_counted(tmp_path):
    row = {"messages": [{"role": r, "content": c} for r, c in [*TALK, ("system", "Be brief."), *TALK]]}
    [conversation], account = load_one(tmp_path, [row])
    assert conversation.messages[0] == Message("system", "Be brief.")
    assert account.reasons() == {"a system message in the middle (moved to the front)": 1}


def test_equal_conversations_count_once_over_all_files(tmp_path):
    rows = [{"instruction": "q", "output": "a"}, {"instruction": "r", "output": "b"}]
    paths = [write(tmp_path, "a.json", rows), write(tmp_path, "b.json", rows[:1])]
    conversations, account = load_files(paths, policy=GENERAL)
    assert len(conversations) == 2 and account.num_duplicates == 1
    assert account.files[1].num_dropped == 1


def test_a_row_that_the_content_policy_refuses_is_dropped_without_being_quoted(tmp_path):
    rows = [{"instruction": "q", "output": "a"}, {"instruction": "zqflag please", "output": "no"}]
    conversations, account = load_one(tmp_path, rows)
    assert len(conversations) == 1
    assert "zqflag" not in str(account.as_json())
    assert account.faults[0].row == 2 and "content policy" in account.faults[0].reason


def test_splits_are_by_conversation_repeatable_and_stable_when_rows_are_added(tmp_path):
    rows = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(200)]
    write(tmp_path, "a.json", rows)
    config = config_for(validation_fraction=0.2)
    first, again = load_splits(config, tmp_path), load_splits(config, tmp_path)
    assert first == again
    assert 20 <= len(first.validation) <= 60
    held_out = {c.messages for c in first.validation}
    assert not held_out & {c.messages for c in first.train}
    write(tmp_path, "b.json", [{"instruction": f"other {n}", "output": "x"} for n in range(200)])
    grown = load_splits(config, tmp_path)
    assert held_out <= {c.messages for c in grown.validation}
    assert {c.messages for c in first.train} <= {c.messages for c in grown.train}


def test_another_seed_holds_out_other_conversations(tmp_path):
    write(tmp_path, "a.json", [{"instruction": f"q{n}", "output": "a"} for n in range(100)])
    seeds = [
        make_config({"run": {"seed": seed}, "model": {"base": "m"}, "data": {"train": ["*.json"]}}, where="test")
        for seed in (0, 1)
    ]
    one, two = (load_splits(config, tmp_path) for config in seeds)
    assert {c.source for c in one.validation} != {c.source for c in two.validation}


def test_two_conversations_are_enough_to_hold_one_out(tmp_path):
    write(tmp_path, "a.json", [{"instruction": f"q{n}", "output": "a"} for n in range(2)])
    splits = load_splits(config_for(validation_fraction=0.01), tmp_path)
    assert (len(splits.train), len(splits.validation)) == (1, 1)


def test_strict_loading_stops_at_faulty_rows_and_lists_them(tmp_path):
    write(tmp_path, "a.json", [{"instruction": "q", "output": "a"}, {"x": 1}, {"y": 2}])
    with pytest.raises(DataError, match=r"2 rows have faults") as caught:
        load_splits(config_for(skip_faulty_rows=False), tmp_path)
    assert "a.json:2" in str(caught.value) and "a.json:3" in str(caught.value)


def test_data_without_a_usable_conversation_is_an_error(tmp_path):
    write(tmp_path, "a.json", [{"x": 1}])
    with pytest.raises(DataError, match="no usable conversation"):
        load_splits(config_for(), tmp_path)


def test_patterns_expand_sorted_and_an_empty_match_is_an_error(tmp_path):
    for name in ("b.json", "a.json"):
        write(tmp_path, name, [])
    assert [path.name for path in resolve_files(["*.json", "a.json"], tmp_path)] == ["a.json", "b.json"]
    assert resolve_files([str(tmp_path / "*.json")], tmp_path / "elsewhere")[0].name == "a.json"
    with pytest.raises(DataError, match="no file matches"):
        resolve_files(["*.csv"], tmp_path)


def test_real_conversations_load_and_add_up(shared_data):
    names = ["personachat_sharegpt.json", "personachat_messages.jsonl", "roleplay_alpaca.json"]
    conversations, account = load_files([shared_data / name for name in names], policy=GENERAL)
    assert [file.format for file in account.files] == ["sharegpt", "messages", "alpaca"]
    for file in account.files:
        assert file.num_rows == file.num_loaded + file.num_dropped
    assert account.num_conversations == len(conversations) == sum(file.num_loaded for file in account.files)
    assert all(a.role != b.role for c in conversations for a, b in zip(c.messages, c.messages[1:], strict=False)), (
        "roles alternate"
    )
