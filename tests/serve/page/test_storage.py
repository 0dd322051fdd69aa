"""How much text an account may keep: nobody fills the disk, and what others keep counts for nobody else."""

import json

import pytest

from tests.serve.page.panels import Panels, make_home, panels

HERE = "characters/ada-bell"
HIGHEST = 3000


@pytest.fixture
def home(tmp_path):
    root = make_home(tmp_path / "home")
    (root / "home.toml").write_text(f"[server]\nmax_account_chars = {HIGHEST}\n", encoding="utf-8")
    with panels(root) as served:
        yield served


def lines_of(*lines: object) -> bytes:
    return "\n".join(map(json.dumps, lines)).encode()


def chat_of(num_chars: int) -> bytes:
    lines = [
        {"user_name": "Tom", "character_name": "Ada Bell"},
        {"name": "Tom", "is_user": True, "mes": "a " * num_chars},
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def bring(home: Panels, num_chars: int, *, who: str = "tom"):
    return home.ask("POST", f"{HERE}/chats/import", who=who, content=chat_of(num_chars))


def test_chats_are_imported_until_there_is_no_room_and_again_when_there_is(home):
    answers = [bring(home, 500) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [201, 201, 413, 413]
    refused = answers[-1].json()["error"]
    assert refused["code"] == "storage_full"
    assert "at most 3,000" in refused["message"]
    assert "Delete chats" in refused["message"]
    assert len(home.get(f"{HERE}/chats", who="tom")["chats"]) == 2
    assert bring(home, 500, who="ana").status_code == 201

    assert home.ask("DELETE", f"{HERE}/chats/{answers[0].json()['ids'][0]}", who="tom").is_success
    assert bring(home, 500).status_code == 201


def test_what_comes_along_with_a_chat_is_counted(home):
    lines = [
        {"user_name": "Tom", "chat_metadata": {"of_another_app": "x" * 1500}},
        {"name": "Tom", "is_user": True, "mes": "Hi"},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()

    answers = [home.ask("POST", f"{HERE}/chats/import", who="tom", content=content) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 413, 413]


def test_a_file_that_is_larger_than_all_there_is_room_for_leaves_nothing(home):
    assert bring(home, 5000).status_code == 413
    assert home.get(f"{HERE}/chats", who="tom")["chats"] == []


def test_memories_branches_and_new_chats_need_room_as_well(home):
    chat = bring(home, 650).json()["ids"][0]
    bring(home, 650)
    [message] = [each["id"] for each in home.get(f"{HERE}/chats/{chat}", who="tom")["messages"]]

    lines = [
        home.ask("POST", f"{HERE}/memory-import", {"lines": "x" * 600}, who="tom"),
        home.ask("POST", f"{HERE}/chats/{chat}/messages/{message}/branch", {}, who="tom"),
    ]
    began = [home.ask("POST", f"{HERE}/chats", {}, who="tom").status_code for _ in range(12)]

    assert [answer.json()["error"]["code"] for answer in lines] == ["storage_full"] * 2
    assert began[0] == 201
    assert began[-1] == 413


def test_what_a_visitor_says_is_kept_also_when_there_is_no_room(home):
    chat = bring(home, 1200).json()["ids"][0]
    assert home.ask("POST", f"{HERE}/chats/{chat}/messages", {"text": "word " * 300}, who="tom").status_code == 202
