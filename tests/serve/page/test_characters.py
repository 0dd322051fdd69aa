"""The gallery and the card editor over HTTP: who may, what is kept, what is refused, what a conflict does."""

import base64
import io
import json
import zipfile
import zlib

import pytest

from duologue.characters import LILA_FOLDER, load_character
from tests.serve.page.panels import ADA, make_home, panels

CARD = "characters/ada-bell/card"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("home") / "home")) as served:
        yield served


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("home") / "home"), with_accounts=False) as served:
        yield served


@pytest.fixture
def own(changing):
    """A home as it was at the beginning, for tests that change it."""
    yield changing
    changing.reset()


def document(home):
    return json.loads((home.root / "ada" / "character.json").read_text())


def edit(home, fields, *, version=None):
    return home.ask("PUT", CARD, {"version": version or home.get(CARD)["version"], "fields": fields})


def test_the_gallery_shows_every_character_with_what_a_visitor_may_know(home):
    found = home.get("characters", who="tom")
    ada, lila = sorted(found["characters"], key=lambda each: each["id"])

    assert (ada["id"], ada["rating"], ada["is_trained"], ada["num_lore"]) == ("ada-bell", "general", False, 1)
    assert ada["about"] == "For quiet evenings."
    assert lila["has_picture"]
    assert not found["may_edit"]
    assert home.get("characters")["may_edit"]


def test_a_broken_character_is_listed_with_its_fault(own):
    (own.root / "ada" / "character.json").write_text("{")

    (ada,) = [each for each in own.get("characters")["characters"] if each["id"] == "ada"]

    assert "not valid JSON" in ada["fault"]
    assert own.ask("PUT", "characters/ada/card", {"version": "x", "fields": {}}).status_code == 409


def test_a_user_sees_the_greeting_but_not_the_definition(home):
    shown = home.get(CARD, who="tom")

    assert shown["greeting"] == "Good evening, {{user}}."
    assert "lift attendant" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", CARD, {"version": "x", "fields": {}}),
        ("POST", f"{CARD}/undo", {"version": "x"}),
        ("GET", f"{CARD}/export", None),
        ("POST", "characters/ada-bell/lorebook", {"version": "x", "entry": {}}),
        ("PUT", "characters/ada-bell/lorebook/0", {"version": "x", "entry": {}}),
        ("DELETE", "characters/ada-bell/lorebook/0", None),
        ("DELETE", "characters/ada-bell", None),
        ("POST", "characters", {"upload": "0" * 16}),
        ("POST", "removed", {"removed": "ada@20260101T000000000000"}),
        ("GET", "cards/0123456789abcdef", None),
        ("GET", "settings/server", None),
        ("PUT", "settings/server", {"key": "guard.burst", "value": 3}),
        ("GET", "characters/ada-bell/settings", None),
        ("PUT", "characters/ada-bell/settings", {"key": "character.persona", "value": "x"}),
        ("GET", "characters/ada-bell/memory-receipts", None),
    ],
)
def test_what_only_an_admin_may_do_is_refused_to_a_user(home, method, path, body):
    assert home.ask(method, path, body, who="tom").status_code == 403


def test_an_edit_keeps_every_field_it_does_not_know(own):
    answer = edit(own, {"description": "A lift attendant of the old sort.", "tags": ["calm", "lift"]})

    assert answer.status_code == 200
    after, data = document(own), dict(ADA["data"])
    assert after["data"].pop("description") == "A lift attendant of the old sort."
    assert after["data"].pop("tags") == ["calm", "lift"]
    del data["description"], data["tags"]
    assert after["data"] == data
    assert after["kept_beside"] == [1, 2]
    assert own.get("characters")["characters"][0]["tags"] == ["calm", "lift"]


def test_an_edit_of_an_old_version_overwrites_nothing(own):
    version = own.get(CARD)["version"]
    assert edit(own, {"personality": "Quick."}, version=version).status_code == 200

    answer = edit(own, {"personality": "Slow."}, version=version)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert document(own)["data"]["personality"] == "Quick."


def test_the_last_edit_can_be_undone(own):
    before = (own.root / "ada" / "character.json").read_bytes()
    version = edit(own, {"personality": "Quick."}).json()["version"]

    shown = own.ask("POST", f"{CARD}/undo", {"version": version}).json()

    assert (shown["personality"], shown["num_earlier"]) == ("Patient.", 0)
    assert (own.root / "ada" / "character.json").read_bytes() == before
    assert own.ask("POST", f"{CARD}/undo", {"version": shown["version"]}).status_code == 404


def test_a_nickname_is_how_a_character_is_renamed_and_its_chats_stay(own):
    session = own.talk("ada-bell", "Hello.", user="local")

    shown = edit(own, {"nickname": "Addie"}).json()

    assert shown["nickname"] == "Addie"
    (ada,) = [each for each in own.get("characters")["characters"] if each["id"] == "ada-bell"]
    assert ada["name"] == "Addie"
    assert own.library.bot("ada-bell").sessions.has(session, character="ada-bell")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"description": 7}, "fields.description"),
        ({"unknown": "x"}, "fields.unknown"),
        ({"greeting": None}, "fields.greeting"),
        ({"depth_prompt": {"text": "x", "depth": -1}}, "fields.depth_prompt.depth"),
        ({"tags": ["x"] * 201}, "fields.tags"),
    ],
)
def test_a_faulty_field_is_named(home, fields, param):
    answer = edit(home, fields)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_lorebook_entry_is_added_changed_and_deleted_and_the_rest_stays(own):
    place = "characters/ada-bell/lorebook"
    version = own.get(CARD)["version"]
    entry = {"title": "The lift", "keys": ["lift", "cabin"], "content": "It creaks.", "order": 3}
    added = own.ask("POST", place, {"version": version, "entry": entry})
    assert added.status_code == 201
    version = added.json()["version"]

    changed = own.ask("PUT", f"{place}/0", {"version": version, "entry": {"is_constant": True, "probability": 40}})

    book = document(own)["data"]["character_book"]
    assert book["extensions"] == {"of_another_app": 1}
    old, new = book["entries"]
    assert (old["constant"], old["extensions"]) == (
        True,
        {"unknown_number": 3.5, "probability": 40, "useProbability": True},
    )
    assert (old["id"], old["comment"], old["content"]) == (7, "The lamp", "The lamp was lit in 1871.")
    assert (new["id"], new["keys"], new["content"], new["insertion_order"]) == (8, ["lift", "cabin"], "It creaks.", 3)
    shown = changed.json()["lorebook"]["entries"]
    assert [each["title"] for each in shown] == ["The lamp", "The lift"]
    gone = own.ask("DELETE", f"{place}/0?version={changed.json()['version']}").json()
    assert [each["title"] for each in gone["lorebook"]["entries"]] == ["The lift"]
    assert own.ask("PUT", f"{place}/9", {"version": gone["version"], "entry": {}}).status_code == 404


@pytest.mark.parametrize("form", ["png", "json", "charx"])
def test_an_exported_card_is_the_same_character(home, tmp_path, form):
    answer = home.ask("GET", f"{CARD}/export?form={form}")
    file = tmp_path / f"card.{form}"
    file.write_bytes(answer.content)

    character = load_character(file)

    assert (character.name, character.description) == ("Ada Bell", "A lift attendant.")
    assert character.lorebook.entries[0].content == "The lamp was lit in 1871."
    assert answer.headers["content-disposition"] == f'attachment; filename="ada-bell.{form}"'
    assert home.ask("GET", f"{CARD}/export?form=exe").status_code == 400


def test_a_dropped_card_is_looked_at_and_becomes_a_character(own):
    upload = own.upload("../Lila the second.png", (LILA_FOLDER / "character.png").read_bytes()).json()["id"]

    seen = own.get(f"cards/{upload}")
    made = own.ask("POST", "characters", {"upload": upload, "recipe": "original"})

    assert (seen["name"], seen["is_there"], seen["refusal"], seen["rating"]) == ("Lila Quill", True, "", "general")
    assert made.status_code == 201
    folder = own.root / "lila-quill"
    assert (folder / "character.png").read_bytes() == (LILA_FOLDER / "character.png").read_bytes()
    assert made.json()["id"] in {each["id"] for each in own.get("characters")["characters"]}


def test_a_card_that_no_rating_here_allows_is_shown_with_why_and_not_made(own):
    card = {"name": "Vera", "description": "She writes explicit erotica and sex scenes.", "first_mes": "Hi."}
    upload = own.upload("vera.json", json.dumps(card).encode()).json()["id"]

    assert "general" in own.get(f"cards/{upload}")["refusal"]
    assert own.ask("POST", "characters", {"upload": upload}).status_code == 400
    assert not (own.root / "vera").exists()


def zipped(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def png_with(text, *, packed=False):
    def chunk(kind, payload):
        return len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big")

    body = b"chara\0" + (b"\0" + zlib.compress(text) if packed else text)
    head = (20000).to_bytes(4, "big") * 2 + b"\x08\x06\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"zTXt" if packed else b"tEXt", body) + chunk(b"IEND", b"")
    )


BAD_CARDS = {
    "a text": ("x.json", b"hello"),
    "no card": ("x.json", b"[1, 2]"),
    "deep": ("x.json", b"[" * 100_000),
    "a name that is a number": ("x.json", b'{"name": 7}'),
    "a long number": ("x.json", b'{"name": "x", "n": ' + b"9" * 6000 + b"}"),
    "an empty picture": ("x.png", b"\x89PNG\r\n\x1a\n"),
    "a picture without a card": ("x.png", png_with(b"")),
    "a packed bomb": ("x.png", png_with(b"A" * 50_000_000, packed=True)),
    "a zip bomb": ("x.charx", zipped({"card.json": b"{}" + b" " * 60_000_000})),
    "a zip that climbs": ("x.charx", zipped({"card.json": json.dumps(ADA), "../../evil.txt": b"x"})),
    "a zip of too many files": ("x.charx", zipped({f"f{n}": b"" for n in range(5000)}, zipfile.ZIP_STORED)),
    "no zip": ("x.charx", b"PK\x03\x04 and then nothing"),
}


@pytest.mark.parametrize("kind", BAD_CARDS)
def test_a_bad_card_is_refused_with_a_sentence_and_makes_nothing(home, kind):
    before = sorted(home.root.iterdir())
    upload = home.upload(*BAD_CARDS[kind]).json()["id"]

    answer = home.ask("POST", "characters", {"upload": upload})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_card")
    assert str(home.root) not in answer.text
    assert sorted(set(home.root.iterdir()) - {home.root / ".uploads"}) == sorted(set(before) - {home.root / ".uploads"})
    home.ask("DELETE", f"uploads/{upload}")


def test_a_picture_that_says_it_is_huge_is_never_decoded(own):
    text = base64.b64encode(json.dumps({**ADA, "data": {**ADA["data"], "name": "Huge"}}).encode())
    upload = own.upload("huge.png", png_with(text)).json()["id"]

    assert own.ask("POST", "characters", {"upload": upload}).status_code == 201


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", "..", "a" * 300, "Ünï 日本", "removed"])
def test_no_name_in_a_card_leads_out_of_the_home(own, name):
    upload = own.upload("card.json", json.dumps({"name": name, "first_mes": "Hi."}).encode()).json()["id"]

    made = own.ask("POST", "characters", {"upload": upload})

    assert made.status_code == 201
    folders = {path.name for path in own.root.iterdir() if (path / "duologue.toml").exists()}
    (new,) = folders - {"ada", "lila"}
    assert new.replace("-", "").isalnum()
    assert len(new) <= 70
    assert new not in ("con", "removed")


@pytest.mark.parametrize("character", ["..", "%2e%2e", "ada-bell%00", "nobody", "a" * 4000, "ADA-BELL", "ada-bell/.."])
def test_an_id_that_is_none_is_not_found(home, character):
    assert home.ask("GET", f"characters/{character}/card").status_code in (400, 404)


@pytest.mark.parametrize("place", ["../ada", "ada@2026", "..", "ada/../../x@20260101T000000000000"])
def test_nothing_but_what_was_removed_is_brought_back(home, place):
    assert home.ask("POST", "removed", {"removed": place}).status_code == 404


def test_a_deleted_character_is_put_aside_and_comes_back_with_its_chats(own):
    session = own.talk("ada-bell", "Hello.", user="local")

    removed = own.ask("DELETE", "characters/ada-bell").json()["removed"]

    assert [each["id"] for each in own.get("characters")["characters"]] == ["lila-quill"]
    assert (own.root / "removed" / removed / "character.json").exists()
    assert own.get("characters")["removed"][0]["id"] == removed
    assert own.ask("POST", "removed", {"removed": removed}).json() == {"id": "ada-bell"}
    assert own.library.bot("ada-bell").sessions.has(session, character="ada-bell")


def test_a_home_of_one_character_says_how_to_have_several(tmp_path):
    root = make_home(tmp_path / "home") / "ada"
    with panels(root, with_accounts=False) as single:
        upload = single.upload("x.json", json.dumps({"name": "Second"}).encode()).json()["id"]
        answers = [single.ask("POST", "characters", {"upload": upload}), single.ask("DELETE", "characters/ada-bell")]

    assert [answer.json()["error"]["code"] for answer in answers] == ["single_home"] * 2
    assert "duologue serve HOME" in answers[0].json()["error"]["message"]


def test_a_character_without_a_card_gets_its_first_one(own):
    (own.root / "ada" / "duologue.toml").write_text('[model]\nbase = "fake"\n[data]\ntrain = ["x.json"]\n')
    assert own.get("characters/ada/card")["version"] == "none"

    answer = own.ask("PUT", "characters/ada/card", {"version": "none", "fields": {"description": "New."}})

    assert answer.status_code == 409  # another card lies there that duologue.toml does not name
    (own.root / "ada" / "character.json").unlink()
    answer = own.ask("PUT", "characters/ada/card", {"version": "none", "fields": {"description": "New."}})
    assert (answer.status_code, answer.json()["description"]) == (200, "New.")
    assert 'card = "character.json"' in (own.root / "ada" / "duologue.toml").read_text()
