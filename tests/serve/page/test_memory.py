"""The memory panel's routes: pages, search, changes, forgetting with a receipt, and nobody else's lines."""

import pytest

from duologue.memory import Scope
from tests.serve.page.panels import make_home, panels

HERE = "characters/ada-bell/memory"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("home") / "home")) as served:
        served.talk("ada-bell", "My name is Tom and I live in Aberdeen.", user=served.accounts["tom"])
        served.talk("ada-bell", "I keep bees behind the house.", user=served.accounts["ana"])
        yield served


def lines(home, query="", who="tom"):
    return home.get(f"{HERE}{query}", who=who)["lines"]


def test_everyone_sees_their_own_lines_and_facts(home):
    toms, anas = lines(home), lines(home, who="ana")

    assert any("Aberdeen" in line["text"] and line["kind"] == "turn" for line in toms)
    assert any(line["kind"] == "fact" and line["slot"] for line in toms)
    assert not any("Aberdeen" in line["text"] for line in anas)
    assert home.get(f"{HERE}/counts", who="ana")["turn"] == len([line for line in anas if line["kind"] == "turn"])
    assert home.get(HERE)["lines"] == []


def test_a_line_names_the_chat_it_was_said_in(home):
    line = next(line for line in lines(home) if "Aberdeen" in line["text"])
    why = home.get(f"{HERE}/{line['id']}", who="tom")

    assert line["session_id"]
    assert [each["text"] for each in why["around"]]
    assert why["line"]["id"] == line["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "{id}", None),
        ("PATCH", "{id}", {"text": "Mine now."}),
        ("PATCH", "{id}", {"is_pinned": True}),
        ("PATCH", "{id}", {"is_private": True}),
        ("POST", "forget", {"ids": ["{id}"]}),
        ("GET", "?before={id}", None),
    ],
)
def test_a_line_of_somebody_else_is_as_good_as_none(home, method, path, body):
    line = next(line for line in lines(home) if "Aberdeen" in line["text"])
    if body and "ids" in body:
        body = {"ids": [line["id"]]}
    place = path.format(id=line["id"])
    separator = "" if place.startswith("?") else "/"

    theirs = home.ask(method, f"{HERE}{separator}{place}", body, who="ana")
    nobodys = home.ask(method, f"{HERE}{separator}{place.replace(str(line['id']), '999999')}", body, who="ana")

    assert theirs.status_code == 404
    if "ids" not in (body or {}):
        assert theirs.json() == nobodys.json()
    assert line in lines(home)


def test_a_line_is_searched_changed_pinned_and_hidden(home):
    (line,) = [line for line in lines(home, "?q=Aberdeen") if line["kind"] == "turn" and line["speaker"] == "user"]

    changed = home.ask(
        "PATCH", f"{HERE}/{line['id']}", {"text": "I live in Leith.", "is_pinned": True}, who="tom"
    ).json()

    assert (changed["text"], changed["is_pinned"]) == ("I live in Leith.", True)
    assert "Aberdeen" in changed["original"]
    assert [each["id"] for each in lines(home, "?pinned=1")] == [line["id"]]
    hidden = home.ask("PATCH", f"{HERE}/{line['id']}", {"is_private": True}, who="tom").json()
    assert hidden["is_private"]


@pytest.mark.parametrize(
    "body", [{"text": ""}, {"text": "a\x07b"}, {"text": 7}, {"other": 1}, {"text": "x" * 20_001}, {"is_pinned": "yes"}]
)
def test_a_faulty_change_is_refused(home, body):
    line = lines(home)[0]

    assert home.ask("PATCH", f"{HERE}/{line['id']}", body, who="tom").status_code == 400
    assert line in lines(home)


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "x"])
def test_a_number_that_is_none_is_not_found(home, number):
    assert home.ask("GET", f"{HERE}/{number}", who="tom").status_code in (400, 404, 422)


def test_forgetting_gives_a_receipt_and_leaves_nothing(home):
    home.talk("ada-bell", "The word is tangerine.", user=home.accounts["ana"])
    ids = [line["id"] for line in lines(home, "?q=tangerine", who="ana")]

    receipt = home.ask("POST", f"{HERE}/forget", {"ids": ids}, who="ana").json()

    assert (receipt["is_proved"], receipt["num_traces"], receipt["num_found"]) == (True, 0, 0)
    assert receipt["hosted"] == "none"
    assert receipt["num_lines"] + receipt["num_facts"] >= len(ids)
    assert lines(home, "?q=tangerine", who="ana") == []
    assert home.get(f"{HERE}-receipts")["receipts"][0]["receipt_id"] == receipt["receipt_id"]


def test_many_lines_come_in_pages_without_a_gap_or_a_repeat(home):
    memory, scope = home.library.bot("lila-quill").memory, Scope(home.accounts["tom"], "lila-quill")
    rows = [
        f'{{"text": "Line {n} of many.", "speaker": "user", "session_id": "s", "message_id": {n}, '
        f'"said_at": "2026-01-01T00:00:{n % 60:02d}+00:00"}}'
        for n in range(150)
    ]
    memory.import_lines(rows, scope=scope)

    seen, following = [], "?"
    while following:
        page = home.get(f"characters/lila-quill/memory{following}", who="tom")
        assert len(page["lines"]) <= 60
        seen += [line["id"] for line in page["lines"]]
        following = f"?before={page['next']}" if page["next"] else ""

    assert (len(seen), len(set(seen))) == (150, 150)


@pytest.mark.parametrize("form", ["jsonl", "md"])
def test_memories_are_taken_along_and_brought_in_again(home, form):
    home.talk("ada-bell", "I collect tin boats.", user=home.accounts["ana"])
    exported = home.ask("GET", f"{HERE}-export?form={form}", who="ana")

    def bring(who):
        body = {"lines": exported.text, "form": form}
        return home.ask("POST", "characters/lila-quill/memory-import", body, who=who).json()["num_new"]

    assert "tin boats" in exported.text
    assert exported.headers["content-disposition"] == f'attachment; filename="ada-bell-memories.{form}"'
    assert 0 < bring("ana") <= len(lines(home, who="ana"))
    assert bring("ana") == 0
    assert not any("tin boats" in line["text"] for line in home.get("characters/lila-quill/memory", who="tom")["lines"])


@pytest.mark.parametrize("text", ["not json", '{"text": 1}', "[" * 9000, '{"text": "x"}'])
def test_a_file_that_holds_no_memories_is_refused_whole(home, text):
    answer = home.ask("POST", f"{HERE}-import", {"lines": text}, who="ana")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_memories")


def test_what_was_recalled_for_the_last_reply_says_from_where(home):
    user = home.accounts["tom"]
    first = home.talk("lila-quill", "I have two cats and a dog called Biscuit.", user=user)
    session = home.talk("lila-quill", "What is my dog called?", user=user)

    found = home.get(f"characters/lila-quill/chats/{session}/recalled", who="tom")

    (line,) = [line for line in found["lines"] if line["kind"] == "turn" and "Biscuit" in line["text"]][:1]
    assert found["question"] == "What is my dog called?"
    assert (line["session_id"], line["origin"]) == (first, "local")
    assert line["score"] > 0
    assert line["parts"]["words"] > 0  # both name the dog
    assert sum(line["parts"].values()) == pytest.approx(line["score"], abs=1e-5)
    assert home.ask("GET", f"characters/lila-quill/chats/{session}/recalled", who="ana").status_code == 404
