"""Chats come in from other programs and go out to them, and what went in comes out again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.chat.exchange import Imported, Names, read_chats, write_chats
from duologue.chat.exchange.files import ChatFormat
from duologue.chat.sessions import Sessions
from duologue.chat.tree import NO_MESSAGE, SessionTree, TreeMessage
from duologue.data import LoadSettings, load_files
from duologue.errors import DataError
from duologue.messages import Message
from tests.chat.made import FLAG

NAMES = Names(character="Nyx", user="Ana")

SILLYTAVERN: list[dict[str, Any]] = [
    {
        "chat_metadata": {
            "integrity": "6f1c0d8e-3c1f-4a43-9d1c-0a55b5b7a001",
            "note_prompt": "The harbour smells of tar.",
            "note_depth": 4,
            "variables": {"lamps": "3"},
            "timedWorldInfo": {"sticky": {}, "cooldown": {}},
        },
        "user_name": "unused",
        "character_name": "unused",
    },
    {
        "name": "Nyx",
        "is_user": False,
        "is_system": False,
        "send_date": "2026-03-01T18:00:00.000Z",
        "mes": "Come in, the kettle is on.",
        "extra": {},
        "swipe_id": 1,
        "swipes": ["Who is there?", "Come in, the kettle is on."],
        "swipe_info": [
            {"send_date": "2026-03-01T18:00:00.000Z", "extra": {}},
            {"send_date": "2026-03-01T18:00:00.000Z", "extra": {"token_count": 9}},
        ],
    },
    {
        "name": "Ana",
        "is_user": True,
        "is_system": False,
        "send_date": "September 5, 2024 3:04pm",
        "mes": 'Thank you.\n\nIs the ferry "late"? 🌧',
        "extra": {"isSmallSys": False},
        "force_avatar": "User Avatars/ana.png",
    },
    {
        "name": "Nyx",
        "is_user": False,
        "is_system": False,
        "send_date": 1772388000000,
        "mes": "By an hour.",
        "gen_started": "2026-03-01T18:00:00.000Z",
        "gen_finished": "2026-03-01T18:00:04.000Z",
        "extra": {"api": "custom", "model": "nyx", "token_count": 5, "reasoning": "", "bookmark_link": "Branch #1"},
        "swipe_id": 0,
        "swipes": ["By an hour."],
        "swipe_info": [{"send_date": "2026-03-01T18:00:00.000Z", "extra": {"model": "nyx"}}],
    },
    {
        "name": "Narrator",
        "is_user": False,
        "is_system": False,
        "send_date": "2026-03-01T18:05:00.000Z",
        "mes": "A bell rings.",
        "extra": {"type": "narrator", "isSmallSys": True},
    },
    {
        "name": "Ana",
        "is_user": True,
        "is_system": True,
        "send_date": "2026-03-01T18:06:00.000Z",
        "mes": "(a note to myself)",
        "extra": {},
    },
]

OPEN_WEBUI: dict[str, Any] = {
    "id": "c-1",
    "user_id": "u-1",
    "title": "Harbour",
    "chat": {
        "id": "",
        "title": "Harbour",
        "models": ["nyx:latest"],
        "params": {"temperature": 0.8},
        "history": {
            "messages": {
                "a": {
                    "id": "a",
                    "parentId": None,
                    "childrenIds": ["b", "c"],
                    "role": "user",
                    "content": "Hello",
                    "timestamp": 1772388000,
                    "models": ["nyx:latest"],
                },
                "b": {
                    "id": "b",
                    "parentId": "a",
                    "childrenIds": [],
                    "role": "assistant",
                    "content": "Good evening",
                    "model": "nyx:latest",
                    "modelName": "nyx",
                    "modelIdx": 0,
                    "done": True,
                    "timestamp": 1772388003,
                },
                "c": {
                    "id": "c",
                    "parentId": "a",
                    "childrenIds": ["d"],
                    "role": "assistant",
                    "content": "Welcome",
                    "model": "nyx:latest",
                    "modelName": "nyx",
                    "modelIdx": 0,
                    "done": True,
                    "timestamp": 1772388005,
                    "usage": {"total_tokens": 12},
                },
                "d": {
                    "id": "d",
                    "parentId": "c",
                    "childrenIds": [],
                    "role": "user",
                    "content": "Is it late?",
                    "timestamp": 1772388010,
                    "models": ["nyx:latest"],
                },
            },
            "currentId": "b",
        },
        "tags": [],
        "timestamp": 1772388000123,
        "files": [],
    },
    "updated_at": 1772388011,
    "created_at": 1772388000,
    "share_id": None,
    "archived": False,
    "pinned": True,
    "meta": {"tags": ["harbour", "rain"]},
    "folder_id": None,
}

TEXT_GENERATION: dict[str, Any] = {
    "internal": [["<|BEGIN-VISIBLE-CHAT|>", "Come in."], ["Is <it> late?", "By an hour."], ["", "A ferry's bell."]],
    "visible": [["", "Come in."], ["Is &lt;it&gt; late?", "By <em>an</em> hour."], ["", "A ferry&#x27;s bell."]],
    "metadata": {
        "user_1": {"timestamp": "Mar 01, 2026 18:00"},
        "assistant_1": {
            "timestamp": "Mar 01, 2026 18:01",
            "versions": [
                {"content": "Soon.", "visible_content": "Soon.", "timestamp": "Mar 01, 2026 18:00"},
                {
                    "content": "By an hour.",
                    "visible_content": "By <em>an</em> hour.",
                    "timestamp": "Mar 01, 2026 18:01",
                },
            ],
            "current_version_index": 1,
        },
    },
}

RISUAI: dict[str, Any] = {
    "type": "risuChat",
    "ver": 2,
    "data": {
        "note": "tar and rope",
        "name": "Harbour",
        "localLore": [],
        "fmIndex": -1,
        "id": "5a9d",
        "message": [
            {"role": "char", "data": "Come in.", "saying": "7c11", "time": 1772388000000, "chatId": "m1"},
            {"role": "user", "data": "Is it late?", "time": 1772388005000, "chatId": "m2"},
            {"role": "char", "data": "(left out)", "time": 1772388006000, "chatId": "m3", "disabled": True},
        ],
    },
}

AGNAI: dict[str, Any] = {
    "name": "Harbour",
    "greeting": "Come in.",
    "sampleChat": "",
    "scenario": "A harbour at night.",
    "messages": [
        {"handle": "Nyx", "characterId": "c1", "msg": "Come in.", "createdAt": "2026-03-01T18:00:00.000Z"},
        {"handle": "Ana", "userId": "u1", "msg": "Is it late?", "state": "harbour"},
    ],
}


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    opened = Sessions.open(tmp_path / "chats.sqlite")
    yield opened
    opened.close()


def load(tmp_path: Path, content: object, *, names: Names = NAMES) -> Imported:
    """Read a file of some content: a text, JSON lines for a list of objects with a header, else one document."""
    path = tmp_path / "chat.json"
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return read_chats(path, names)


def lines(documents: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(document, ensure_ascii=False) for document in documents)


def stored(sessions: Sessions, imported: Imported) -> tuple[str, SessionTree]:
    """Store the only chat of a file and return it as the database has it."""
    [chat] = imported.chats
    session_id = sessions.add_tree(chat.tree, character="nyx")
    return session_id, sessions.tree(session_id)


def shown(sessions: Sessions, session_id: str) -> list[tuple[str, str]]:
    return [(entry.message.role, entry.message.content) for entry in sessions.path(session_id)]


# --------------------------------------------------------------------------------------------------------- SillyTavern


def test_a_sillytavern_chat_goes_in_and_comes_out_the_same(sessions: Sessions, tmp_path: Path) -> None:
    imported = load(tmp_path, lines(SILLYTAVERN))
    assert (imported.format, imported.notes) == ("sillytavern", ())
    assert (imported.chats[0].character, imported.chats[0].user) == ("Nyx", "Ana")
    session_id, tree = stored(sessions, imported)
    assert shown(sessions, session_id) == [
        ("assistant", "Come in, the kettle is on."),
        ("user", 'Thank you.\n\nIs the ferry "late"? 🌧'),
        ("assistant", "By an hour."),
        ("system", "A bell rings."),
        ("user", "(a note to myself)"),
    ]
    path = sessions.path(session_id)
    assert (path[0].swipe, path[0].num_swipes) == (2, 2)
    assert [entry.is_hidden for entry in path] == [False, False, False, False, True]
    assert [entry.created_at[:16] for entry in path[:3]] == ["2026-03-01T18:00", "2024-09-05T15:04", "2026-03-01T18:00"]
    written, notes = write_chats([tree], "sillytavern", NAMES)
    assert [json.loads(line) for line in written.split("\n")] == SILLYTAVERN
    assert notes == ()


def test_an_edited_and_swiped_sillytavern_chat_is_consistent(sessions: Sessions, tmp_path: Path) -> None:
    session_id, _ = stored(sessions, load(tmp_path, lines(SILLYTAVERN)))
    path = sessions.path(session_id)
    sessions.choose(sessions.swipes(path[0].id)[0].id)
    sessions.append(session_id, Message("user", "It is me."))
    _, *messages = map(json.loads, write_chats([sessions.tree(session_id)], "sillytavern", NAMES)[0].split("\n"))
    assert [message["mes"] for message in messages] == ["Who is there?", "It is me."]
    assert messages[0]["swipe_id"] == 0
    assert messages[0]["swipes"][0] == "Who is there?"
    assert messages[1]["name"] == "Ana"
    sessions.choose(path[-1].id)
    sessions.edit(path[2].id, "By two hours.")
    again = sessions.append(session_id, Message("assistant", "Soon."), parent_id=path[1].id)
    written, notes = write_chats([sessions.tree(session_id)], "sillytavern", NAMES)
    message = json.loads(written.split("\n")[3])
    assert (message["mes"], message["swipe_id"], message["swipes"]) == ("Soon.", 1, ["By two hours.", "Soon."])
    assert len(message["swipe_info"]) == 2
    assert message["send_date"] == next(e.created_at for e in sessions.path(session_id) if e.id == again)
    assert notes == ("3 times: messages of other branches: left out",)


def test_the_authors_note_of_a_sillytavern_chat_is_the_sessions_note(sessions: Sessions, tmp_path: Path) -> None:
    session_id, _ = stored(sessions, load(tmp_path, lines(SILLYTAVERN)))
    assert sessions.state(session_id, "note") == {"text": "The harbour smells of tar.", "depth": 4}
    sessions.set_state(session_id, "note", {"text": "It smells of rope.", "depth": 2})
    written, _ = write_chats([sessions.tree(session_id)], "sillytavern", NAMES)
    metadata = json.loads(written.split("\n")[0])["chat_metadata"]
    assert (metadata["note_prompt"], metadata["note_depth"]) == ("It smells of rope.", 2)
    assert metadata["integrity"] == SILLYTAVERN[0]["chat_metadata"]["integrity"]


def test_a_group_chat_keeps_who_said_what(sessions: Sessions, tmp_path: Path) -> None:
    names = ["Nyx", "Ana", "Olm", "Nyx"]
    group = [SILLYTAVERN[0]] + [
        {
            "name": name,
            "is_user": name == "Ana",
            "is_system": False,
            "send_date": "",
            "mes": f"{name} speaks",
            "extra": {},
        }
        for name in names
    ]
    imported = load(tmp_path, lines(group))
    assert imported.chats[0].character == ""
    session_id, tree = stored(sessions, imported)
    assert [entry.speaker for entry in sessions.path(session_id)] == ["Nyx", "", "Olm", "Nyx"]
    written, _ = write_chats([tree], "sillytavern", NAMES)
    assert [json.loads(line) for line in written.split("\n")] == group


def test_a_file_with_several_chats_holds_several(tmp_path: Path) -> None:
    imported = load(tmp_path, lines(SILLYTAVERN + SILLYTAVERN))
    assert [len(chat.tree.path()) for chat in imported.chats] == [5, 5]


def test_a_chat_of_chub_has_its_texts_in_objects(sessions: Sessions, tmp_path: Path) -> None:
    chub = [
        {"user_name": "Ana", "character_name": "Nyx", "chat_metadata": {}},
        {
            "name": "Nyx",
            "is_user": False,
            "mes": {"message": "Come in."},
            "swipes": [{"message": "Hm?"}, {"message": "Come in."}],
            "swipe_id": 1,
        },
    ]
    session_id, _ = stored(sessions, load(tmp_path, lines(chub)))
    assert shown(sessions, session_id) == [("assistant", "Come in.")]
    assert sessions.path(session_id)[0].num_swipes == 2


def test_all_faults_of_a_file_are_named_and_nothing_is_imported(tmp_path: Path) -> None:
    broken = [dict(document) for document in SILLYTAVERN]
    broken[1]["swipes"] = "Who is there?"
    broken[2]["is_user"] = "yes"
    del broken[3]["mes"]
    text = lines(broken) + '\n{"name": "Nyx", "is_user": false, "mes": \n'
    with pytest.raises(DataError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    for place in ("chat.json:2: swipes", "chat.json:3: is_user", "chat.json:4: mes: missing", "chat.json:7"):
        assert place in message
    assert "nothing was imported" in message


# ---------------------------------------------------------------------------------------------------------- Open WebUI


def test_an_open_webui_tree_goes_in_and_comes_out_the_same(sessions: Sessions, tmp_path: Path) -> None:
    session_id, tree = stored(sessions, load(tmp_path, [OPEN_WEBUI]))
    assert shown(sessions, session_id) == [("user", "Hello"), ("assistant", "Good evening")]
    info = sessions.info(session_id)
    assert (info.title, info.tags, info.created_at) == ("Harbour", ("harbour", "rain"), "2026-03-01T18:00:00.000+00:00")
    [other] = [entry for entry in sessions.swipes(sessions.path(session_id)[1].id) if entry.swipe == 2]
    written, notes = write_chats([tree], "open-webui", NAMES)
    [again] = json.loads(written)
    messages = again["chat"].pop("messages")
    assert [message["id"] for message in messages] == ["a", "b"]
    assert (again, notes) == (OPEN_WEBUI, ())
    sessions.choose(other.id)
    assert shown(sessions, session_id)[1:] == [("assistant", "Welcome"), ("user", "Is it late?")]
    [again] = json.loads(write_chats([sessions.tree(session_id)], "open-webui", NAMES)[0])
    assert again["chat"]["history"]["currentId"] == "d"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"b": {"parentId": "zz"}}, 'history.messages.b.parentId: found "zz"; expected the id of a message'),
        ({"a": {"parentId": "d"}}, "the messages form a circle"),
        ({"c": {"content": 4}}, "history.messages.c.content: found a JSON number"),
        ({"c": {"role": "tool"}}, "belongs to a tool"),
    ],
)
def test_a_tree_that_is_none_is_refused(tmp_path: Path, change: dict[str, dict[str, Any]], fault: str) -> None:
    document = json.loads(json.dumps(OPEN_WEBUI))
    for name, values in change.items():
        document["chat"]["history"]["messages"][name] |= values
    with pytest.raises(DataError) as caught:
        load(tmp_path, [document])
    assert fault in str(caught.value)


# ------------------------------------------------------------------------------------------------------ other programs


@pytest.mark.parametrize(
    ("chat_format", "document", "texts"),
    [
        ("text-generation-webui", TEXT_GENERATION, ["Come in.", "Is <it> late?", "By an hour.", "A ferry's bell."]),
        ("risuai", RISUAI, ["Come in.", "Is it late?", "(left out)"]),
        ("agnai", AGNAI, ["Come in.", "Is it late?"]),
    ],
)
def test_a_chat_of_another_program_goes_in_and_comes_out_the_same(
    sessions: Sessions, tmp_path: Path, chat_format: ChatFormat, document: dict[str, Any], texts: list[str]
) -> None:
    imported = load(tmp_path, document)
    assert imported.format == chat_format
    session_id, tree = stored(sessions, imported)
    assert [text for _, text in shown(sessions, session_id)] == texts
    written, notes = write_chats([tree], chat_format, NAMES)
    assert json.loads(written) == document
    assert notes == ()


def test_versions_in_text_generation_webui_are_swipes(sessions: Sessions, tmp_path: Path) -> None:
    session_id, _ = stored(sessions, load(tmp_path, TEXT_GENERATION))
    reply = sessions.path(session_id)[2]
    assert [entry.message.content for entry in sessions.swipes(reply.id)] == ["Soon.", "By an hour."]
    sessions.edit(reply.id, "By a day.")
    document = json.loads(write_chats([sessions.tree(session_id)], "text-generation-webui", NAMES)[0])
    assert document["internal"][1] == ["Is <it> late?", "By a day."]
    assert document["visible"][1] == ["Is &lt;it&gt; late?", "By a day."]  # the old HTML belonged to the old text
    assert [version["content"] for version in document["metadata"]["assistant_1"]["versions"]] == ["Soon.", "By a day."]


def test_a_training_row_holds_the_path_and_is_read_by_the_data_room(tmp_path: Path) -> None:
    tree = SessionTree(
        (
            TreeMessage(1, NO_MESSAGE, Message("assistant", "Come in.")),
            TreeMessage(2, 1, Message("user", "Is it late?")),
            TreeMessage(3, 2, Message("assistant", "No.")),
            TreeMessage(4, 2, Message("assistant", "By an hour.")),
            TreeMessage(5, 4, Message("user", "an aside"), is_hidden=True),
        ),
        {2: 4},
    )
    alone = SessionTree((TreeMessage(1, NO_MESSAGE, Message("user", "Hello?")),))
    written, notes = write_chats([tree, alone], "messages", NAMES)
    path = tmp_path / "rows.jsonl"
    path.write_text(written, encoding="utf-8")
    loaded = load_files([path], settings=LoadSettings())
    [conversation] = loaded.conversations
    assert [(m.role, m.content) for m in conversation.messages] == [
        ("assistant", "Come in."),
        ("user", "Is it late?"),
        ("assistant", "By an hour."),
    ]
    assert set(notes) == {
        "1 times: other versions of messages: left out",
        "1 times: messages hidden from the character: left out",
        "1 times: chats without a reply: left out",
    }
    [chat] = read_chats(path, NAMES).chats
    assert [entry.message.content for entry in chat.tree.path()] == ["Come in.", "Is it late?", "By an hour."]


# ----------------------------------------------------------------------------------------------------------- plain text


def test_a_log_of_names_and_texts_is_a_chat(sessions: Sessions, tmp_path: Path) -> None:
    log = "# an evening\nNyx: Come in.\nAna: Thank you.\nIs the ferry late? See: the board.\n\nNyx: By an hour.\n"
    imported = load(tmp_path, log)
    assert imported.notes == ("1 times: lines before the first name: left out",)
    session_id, _ = stored(sessions, imported)
    assert shown(sessions, session_id) == [
        ("assistant", "Come in."),
        ("user", "Thank you.\nIs the ferry late? See: the board."),
        ("assistant", "By an hour."),
    ]


def test_a_log_in_which_nobody_is_the_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nobody is called 'Ana'; found Bea, Nyx"):
        load(tmp_path, "Nyx: Come in.\nBea: Hello.\nNyx: Well?\nBea: Yes.\n")
    with pytest.raises(DataError, match="no line begins with a name"):
        load(tmp_path, "once there was a harbour\n")


# --------------------------------------------------------------------------------------------------------------- limits


def test_what_crosses_a_limit_at_every_rating_is_refused_in_every_version(tmp_path: Path) -> None:
    document = json.loads(json.dumps(OPEN_WEBUI))
    document["chat"]["history"]["messages"]["d"]["content"] = f"She is 15. {FLAG}"
    with pytest.raises(DataError, match="refused by the content policy: a limit at every rating") as caught:
        load(tmp_path, [document])
    assert FLAG not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"internal": [["a", "b"]', "line 1"),
        ("[]", "holds no chat"),
        ('{"internal": [["a"]]}', "internal\\[0\\]: found 1 items; expected a pair of texts"),
        ('{"messages": [{"role": "user", "content": "a\\u0000b"}]}', "NUL"),
        ('[{"instruction": "a", "output": "b"}]', "alpaca"),
    ],
)
def test_a_file_that_is_no_chat_says_why(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        load(tmp_path, content)


def test_a_file_that_is_not_utf_8_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"mes": "\xff"}')
    with pytest.raises(DataError, match="is not UTF-8"):
        read_chats(path, NAMES)
    with pytest.raises(DataError, match="cannot be read"):
        read_chats(tmp_path / "none.jsonl", NAMES)


# ------------------------------------------------------------------------------------------------------------ any chats

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=12).filter(
    str.strip
)


@st.composite
def trees(draw: st.DrawFn, *, has_branches: bool) -> SessionTree:
    """Any session: roles, versions, hidden messages, branches of any depth."""
    messages: list[TreeMessage] = []
    chosen: dict[int, int] = {}
    parent = NO_MESSAGE
    for _ in range(draw(st.integers(1, 6))):
        role = draw(st.sampled_from(["user", "assistant"]))
        ids = []
        for _ in range(draw(st.integers(1, 3))):
            messages.append(TreeMessage(len(messages) + 1, parent, Message(role, draw(TEXTS))))
            ids.append(len(messages))
        chosen[parent] = draw(st.sampled_from(ids))
        parent = draw(st.sampled_from(ids)) if has_branches else chosen[parent]
    return SessionTree(tuple(messages), chosen, title=draw(st.sampled_from(["", "Harbour"])))


def shape(tree: SessionTree) -> Any:
    """Return a tree without its numbers: role, text and whether it is shown, with what hangs below."""
    children = tree.children()

    def below(parent: int) -> list[Any]:
        versions = children.get(parent, [])
        shown_id = tree.chosen.get(parent, versions[0].id if versions else 0)
        return [(v.message.role, v.message.content, v.id == shown_id, below(v.id)) for v in versions]

    return below(NO_MESSAGE)


def round_trip(sessions: Sessions, folder: Path, tree: SessionTree, chat_format: ChatFormat) -> SessionTree:
    first = sessions.tree(sessions.add_tree(tree, character="nyx"))
    written, _ = write_chats([first], chat_format, NAMES)
    path = folder / f"round.{chat_format}"
    path.write_text(written, encoding="utf-8", newline="")
    [chat] = read_chats(path, NAMES).chats
    second = sessions.tree(sessions.add_tree(chat.tree, character="nyx"))
    assert write_chats([second], chat_format, NAMES)[0] == written  # and the second time nothing changes
    return second


ANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(trees(has_branches=True))
@ANY
def test_any_tree_survives_open_webui(sessions: Sessions, tmp_path: Path, tree: SessionTree) -> None:
    assert on_path_or_last(shape(round_trip(sessions, tmp_path, tree, "open-webui"))) == on_path_or_last(shape(tree))


def on_path_or_last(versions: list[Any]) -> list[Any]:
    """Open WebUI keeps one current message; which version is shown elsewhere it does not say."""
    return [
        (role, text, is_shown, on_path_or_last(below) if is_shown else unshown(below))
        for role, text, is_shown, below in versions
    ]


def unshown(versions: list[Any]) -> list[Any]:
    return [(role, text, unshown(below)) for role, text, _, below in versions]


@given(trees(has_branches=False))
@ANY
def test_any_path_with_its_swipes_survives_sillytavern(sessions: Sessions, tmp_path: Path, tree: SessionTree) -> None:
    assert shape(round_trip(sessions, tmp_path, tree, "sillytavern")) == shape(tree)


@given(trees(has_branches=True))
@ANY
def test_any_path_survives_plain_text(sessions: Sessions, tmp_path: Path, tree: SessionTree) -> None:
    first = SessionTree((TreeMessage(1, NO_MESSAGE, Message("user", "Hello")), *()))
    path = tree.path()
    number = 1
    messages = [*first.messages]
    for entry in path:
        messages.append(TreeMessage(number + 1, number, entry.message))
        number += 1
    line = SessionTree(tuple(messages))
    found = round_trip(sessions, tmp_path, line, "text")
    assert [entry.message for entry in found.path()] == [entry.message for entry in line.path()]


@pytest.mark.parametrize("chat_format", ["risuai", "agnai", "messages"])
@given(tree=trees(has_branches=False))
@ANY
def test_any_path_survives_the_formats_of_plain_lists(
    sessions: Sessions, tmp_path: Path, chat_format: ChatFormat, tree: SessionTree
) -> None:
    head = (Message("user", "Hello"), Message("assistant", "Good evening"))
    said = [*head, *(entry.message for entry in tree.path())]
    line = SessionTree(tuple(TreeMessage(n + 1, n, message) for n, message in enumerate(said)))
    found = round_trip(sessions, tmp_path, line, chat_format)
    assert [entry.message for entry in found.path()] == said


@given(trees(has_branches=False))
@ANY
def test_any_path_with_its_swipes_survives_text_generation_webui(
    sessions: Sessions, tmp_path: Path, tree: SessionTree
) -> None:
    assert shape(round_trip(sessions, tmp_path, tree, "text-generation-webui")) == shape(tree)
