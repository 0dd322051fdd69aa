"""Rows of OpenAI messages and of ShareGPT."""

import pytest

from duologue.data.formats import NOT_USED
from tests.data.formats.samples import MESSAGES, SHAREGPT, read


def said(*messages):
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def fault_of(row):
    found = read([row])
    assert found.dialogues == []
    [note] = found.notes
    assert note.row == 1
    return note.field, note.reason


def test_openai_messages_keep_roles_names_and_text_parts():
    [dialogue] = read([MESSAGES]).dialogues
    assert [(t.role, t.speaker, t.text, t.field) for t in dialogue.turns] == [
        ("system", "", "You keep a lighthouse.", "messages[0].content"),
        ("user", "anna", "Is the lamp lit?", "messages[1].content"),
        ("assistant", "", "Since dusk.", "messages[2].content"),
    ]
    assert (dialogue.row, dialogue.rows, dialogue.notes) == (1, 1, ())


def test_sharegpt_has_its_system_text_first():
    [dialogue] = read([SHAREGPT]).dialogues
    assert [(t.role, t.text, t.field) for t in dialogue.turns] == [
        ("system", "You keep a lighthouse.", "system"),
        ("user", "Is the lamp lit?", "conversations[0].value"),
        ("assistant", "Since dusk.", "conversations[1].value"),
    ]


@pytest.mark.parametrize("key", ["conversations", "conversation"])
def test_roles_and_contents_inside_conversations_are_read_too(key):
    row = {key: [{"role": "user", "content": "Rain?"}, {"from": "gpt", "content": "Soon."}]}
    found = read([row])
    assert found.turns == [[("user", "Rain?"), ("assistant", "Soon.")]]
    assert found.reading.formats == {"sharegpt": 1}


@pytest.mark.parametrize(
    "word, role",
    [
        *[(word, "user") for word in ("user", "human", "Human", " prompter ")],
        *[(w, "assistant") for w in ("assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot", "char", "AI")],
        *[(word, "system") for word in ("system", "developer")],
    ],
)
def test_the_words_for_roles_that_data_sets_use_are_known(word, role):
    assert read([said((word, "x"))]).turns == [[(role, "x")]]
    assert read([{"conversations": [{"from": word, "value": "x"}]}]).turns == [[(role, "x")]]


@pytest.mark.parametrize("word", ["narrator", "", None, 3, ["user"], {"user": 1}])
def test_an_unknown_role_is_refused_with_its_place(word):
    field, reason = fault_of(said(("user", "x"), (word, "y")))
    assert field == "messages[1].role" and "unknown role" in reason
    field, reason = fault_of({"conversations": [{"from": word, "value": "x"}]})
    assert field == "conversations[0].from" and "unknown role" in reason


@pytest.mark.parametrize("word", ["tool", "function", "function_call", "observation"])
def test_a_message_of_a_tool_refuses_the_row(word):
    field, reason = fault_of(said(("user", "x"), (word, "21 degrees"), ("assistant", "Warm.")))
    assert field == "messages[1].role" and "tool" in reason


@pytest.mark.parametrize("content, field", [(None, "content"), ("Let me look.", "tool_calls")])
def test_a_call_of_a_tool_refuses_the_row(content, field):
    call = {"role": "assistant", "content": content, "tool_calls": [{"id": "1", "type": "function"}]}
    found, reason = fault_of({"messages": [{"role": "user", "content": "Weather?"}, call]})
    assert found == f"messages[1].{field}" and "tool_calls" in reason


@pytest.mark.parametrize("value", [None, 3, True, {"text": "x"}])
def test_a_content_that_is_no_text_is_refused_with_its_type(value):
    field, reason = fault_of(said(("user", "x"), ("assistant", value)))
    assert field == "messages[1].content" and reason.startswith("found a JSON")


def test_a_missing_content_is_missing():
    assert fault_of({"messages": [{"role": "user"}]}) == ("messages[0].content", "missing")
    assert fault_of({"messages": [{"content": "x"}]}) == ("messages[0].role", "missing")
    assert fault_of({"conversations": [{"value": "x"}]}) == ("conversations[0].from", "missing")
    assert fault_of({"conversations": [{"from": "human"}]}) == ("conversations[0].value", "missing")


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_a_part_that_is_no_text_refuses_the_row(kind):
    parts = [{"type": "text", "text": "Look:"}, {"type": kind, kind: {}}]
    field, reason = fault_of(said(("user", parts), ("assistant", "A cat.")))
    assert field == "messages[0].content[1]" and kind in reason


def test_several_text_parts_are_joined_and_noted():
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    [dialogue] = read([said(("user", parts), ("assistant", "Three."))]).dialogues
    assert dialogue.turns[0].text == "One.\nTwo."
    assert [(n.row, n.field, n.action) for n in dialogue.notes] == [(1, "messages[0].content", "joined")]


@pytest.mark.parametrize("key", ["weight", "train", "loss"])
@pytest.mark.parametrize("value, is_trained", [(0, False), (1, True), (False, False), (True, True), (None, True)])
def test_a_reply_of_weight_0_is_not_trained(key, value, is_trained):
    reply = {"role": "assistant", "content": "x", key: value}
    [dialogue] = read([{"messages": [{"role": "user", "content": "q"}, reply]}]).dialogues
    assert [turn.is_trained for turn in dialogue.turns] == [True, is_trained]
    reply = {"from": "gpt", "value": "x", key: value}
    [dialogue] = read([{"conversations": [{"from": "human", "value": "q", key: 0}, reply]}]).dialogues
    assert [turn.is_trained for turn in dialogue.turns] == [True, is_trained]


@pytest.mark.parametrize("value", [0.5, 2, "1", [], {}])
def test_another_weight_is_refused(value):
    reply = {"role": "assistant", "content": "x", "weight": value}
    field, reason = fault_of({"messages": [reply]})
    assert field == "messages[0].weight" and "expected 0 or 1" in reason


def test_reasoning_beside_a_reply_is_not_used_and_noted():
    reply = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    [dialogue] = read([{"messages": [reply]}]).dialogues
    assert [(note.field, note.action) for note in dialogue.notes] == [("messages[0].reasoning_content", NOT_USED)]


@pytest.mark.parametrize("value", [[], {}, "x", 3, None])
def test_messages_that_are_no_list_are_refused(value):
    field, reason = fault_of({"messages": value})
    assert field == "messages" and "expected a list of messages" in reason


@pytest.mark.parametrize("value", ["x", 3, None, []])
def test_a_message_that_is_no_object_is_refused(value):
    field, reason = fault_of({"messages": [{"role": "user", "content": "x"}, value]})
    assert field == "messages[1]" and "expected an object" in reason
