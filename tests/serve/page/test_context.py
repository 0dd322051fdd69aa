"""What the model was sent, over HTTP: only to whom the chat belongs, and without loading a model unasked."""

import pytest

from tests.serve.page.panels import make_home, panels


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("home") / "home")) as served:
        yield served


@pytest.fixture(scope="module")
def chat(home):
    session = home.talk("ada-bell", "Is the lamp lit?", user=home.accounts["tom"])
    return f"characters/ada-bell/chats/{session}"


def test_every_part_of_the_last_prompt_says_why_it_is_there(home, chat):
    found = home.get(f"{chat}/context", who="tom")

    context = found["context"]
    assert found["is_sent"]
    (lore,) = [block for block in context["blocks"] if block["kind"] == "lore"]
    assert lore["text"].strip() == "The lamp was lit in 1871."
    assert "lamp" in lore["why"]
    assert context["blocks"][-1]["text"] or context["blocks"][-1]["kind"] == "request"
    known = sum(block["num_tokens"] for block in context["blocks"])
    assert 0 < known <= context["num_prompt_tokens"] <= context["room_tokens"] < context["context_tokens"]
    assert context["lore"][0]["is_fired"]


def test_a_prompt_that_was_not_sent_is_worked_out_only_when_asked(home):
    session = home.library.bot("ada-bell").new_session(user=home.accounts["tom"])
    place = f"characters/ada-bell/chats/{session}/context"

    assert home.get(place, who="tom")["context"] is None
    assert home.get(f"{place}?load=1", who="tom")["context"]["num_prompt_tokens"] > 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "context", None),
        ("GET", "context?load=1", None),
        ("PUT", "context/note", {"text": "Be brief."}),
        ("PUT", "context/summary", {"text": "x"}),
        ("GET", "recalled", None),
    ],
)
def test_a_chat_of_somebody_else_is_as_good_as_none(home, chat, method, path, body):
    theirs = home.ask(method, f"{chat}/{path}", body, who="ana")
    nobodys = home.ask(method, f"characters/ada-bell/chats/nothing/{path}", body, who="ana")

    assert (theirs.status_code, theirs.json()) == (404, nobodys.json())


def test_the_list_of_chats_is_the_visitors_own(home, chat):
    assert chat.rpartition("/")[2] in {
        each["id"] for each in home.get("characters/ada-bell/contexts", who="tom")["chats"]
    }
    assert home.get("characters/ada-bell/contexts", who="ana")["chats"] == []


def test_a_note_is_part_of_the_next_prompt_and_memory_stays_the_visitors(home, chat):
    shown = home.ask("PUT", f"{chat}/context/note", {"text": "It is raining.", "depth": 0}, who="tom").json()
    assert "error" not in shown

    home.library.bot("ada-bell").settle()
    assert shown["note"] == {"text": "It is raining.", "depth": 0}
    blocks = home.get(f"{chat}/context?load=1", who="tom")["context"]["blocks"]
    assert "It is raining." in [block["text"] for block in blocks if block["kind"] == "note"]
    assert home.get("characters/ada-bell/memory", who="admin")["lines"] == []


@pytest.mark.parametrize("body", [{"text": 1}, {"text": "x" * 20_001}, {"text": "x", "depth": -1}, {"words": "x"}])
def test_a_faulty_note_is_refused(home, chat, body):
    assert home.ask("PUT", f"{chat}/context/note", body, who="tom").status_code == 400


def test_there_is_no_summary_before_anything_fell_out(home, chat):
    assert home.ask("PUT", f"{chat}/context/summary", {"text": "They met."}, who="tom").status_code == 400
