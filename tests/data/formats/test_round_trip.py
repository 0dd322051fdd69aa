"""Any conversation, written in any format, is read back with the same turns."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.formats.samples import read

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
spoken = texts.filter(lambda text: text.strip())
roles = st.sampled_from(["system", "user", "assistant"])


def conversations(text, role=roles):
    return st.lists(st.tuples(role, text), min_size=1, max_size=8)


def as_messages(turns):
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def as_parts(turns):
    return {"messages": [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]}


def as_sharegpt(turns):
    words = {"system": "system", "user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": words[role], "value": text} for role, text in turns]}


def as_prompt(turns):
    messages = as_messages(turns)["messages"]
    return {"prompt": messages[:-1] or "?", "completion": messages[-1:]}


@pytest.mark.parametrize("write", [as_messages, as_parts, as_sharegpt])
@given(conversations(texts))
def test_lists_of_messages(write, turns):
    row = json.loads(json.dumps(write(turns)))
    found = read([row])
    assert found.turns == [turns] and found.notes == []


@given(conversations(texts))
def test_a_prompt_of_messages_with_its_completion(turns):
    prompt = [] if len(turns) > 1 else [("user", "?")]
    assert read([as_prompt(turns)]).turns == [[*prompt, *turns]]


@given(st.lists(st.tuples(texts, texts), max_size=3), texts, texts, spoken)
def test_alpaca_with_history_and_system(history, question, answer, system):
    row = {"instruction": question, "input": "", "output": answer, "history": history, "system": system}
    found = read([json.loads(json.dumps(row))])
    assert found.turns == [
        [
            ("system", system),
            *[turn for pair in history for turn in zip(("user", "assistant"), pair, strict=True)],
            ("user", question if question.strip() else ""),
            ("assistant", answer),
        ]
    ]


@given(conversations(spoken, st.sampled_from(["user", "assistant"])), st.booleans())
def test_sillytavern(turns, is_old):
    header = {"user_name": "Anna", "character_name": "Lila", **({} if is_old else {"chat_metadata": {}})}
    rows = [{"name": "x", "is_user": role == "user", "is_system": False, "mes": text} for role, text in turns]
    found = read([json.loads(json.dumps(row)) for row in (header, *rows)])
    assert found.turns == [turns] and found.notes == []


@given(conversations(spoken), st.data())
def test_open_webui_with_other_branches(turns, data):
    messages = {}
    for index, (role, text) in enumerate(turns):
        parent = f"m{index - 1}" if index else None
        messages[f"m{index}"] = {"id": f"m{index}", "parentId": parent, "role": role, "content": text}
    num_others = data.draw(st.integers(0, 3))
    for other in range(num_others):
        parent = data.draw(st.sampled_from(sorted(messages)))
        messages[f"x{other}"] = {"id": f"x{other}", "parentId": parent, "role": "user", "content": "another branch"}
    shuffled = dict(data.draw(st.permutations(list(messages.items()))))
    chat = {"chat": {"title": "t", "history": {"currentId": f"m{len(turns) - 1}", "messages": shuffled}}}
    found = read([json.loads(json.dumps([chat]))[0]], "json")
    assert found.turns == [turns]
    assert found.of_file == ([(f"messages of other branches: {num_others}", "not used")] if num_others else [])


@given(st.lists(st.tuples(st.sampled_from(["Anna", "Lila Ö. (work)"]), spoken), min_size=1, max_size=6))
def test_discord_and_telegram(lines):
    time = "2026-03-01T18:00:00+00:00"
    discord = {
        "guild": {},
        "channel": {},
        "messages": [
            {"type": "Default", "timestamp": time, "content": text, "author": {"id": name, "name": name}}
            for name, text in lines
        ],
    }
    telegram = {
        "name": "x",
        "type": "personal_chat",
        "messages": [{"type": "message", "date": time, "from": name, "text": [text]} for name, text in lines],
    }
    assert read([discord], "json").turns == read([telegram], "json").turns == [lines]


plain = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=30).map(str.strip).filter(bool)


@given(st.lists(st.tuples(st.sampled_from(["Anna", "Lila"]), st.lists(plain, min_size=1, max_size=3)), min_size=1))
def test_whatsapp(lines):
    written = [
        (name, "\n".join(["-", *text, "."])) for name, text in lines
    ]  # nothing that looks like a mark of the app
    android = "\n".join(f"31/12/23, 23:58 - {name}: {text}" for name, text in written)
    ios = "\n".join(f"[31.12.23, 23:58:00] {name}: {text}" for name, text in written)
    for export in (android, ios):
        assert read(export.split("\n"), "text").turns == [written]
