"""Settings over HTTP: one's own name, persona and samplers; what an admin writes into the files, comments kept."""

import threading

import pytest

from tests.serve.page.panels import make_home, panels

ME = "characters/ada-bell/me"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("home") / "home")) as served:
        yield served


def prompt(home, user):
    session = home.talk("ada-bell", "Hello.", user=home.accounts[user])
    context = home.get(f"characters/ada-bell/chats/{session}/context", who=user)["context"]
    return "\n".join(block["text"] for block in context["blocks"])


def test_a_persona_is_told_for_its_visitor_only_and_to_every_character(home):
    answer = home.ask("PUT", f"{ME}/persona", {"name": "Captain Tom", "persona": "A retired pilot."}, who="tom")

    assert answer.json()["is_own"]
    assert "About Captain Tom: A retired pilot." in prompt(home, "tom")
    assert "Good evening, Captain Tom." in prompt(home, "tom")
    assert "Captain Tom" not in prompt(home, "ana")
    assert home.get("characters/lila-quill/me", who="tom")["persona"] == "A retired pilot."
    assert home.get(ME, who="ana")["name"] == "User"


def test_a_persona_outlives_the_server(tmp_path):
    root = make_home(tmp_path / "home")
    with panels(root, with_accounts=False) as served:
        served.ask("PUT", f"{ME}/persona", {"name": "Nell", "persona": ""})
    with panels(root, with_accounts=False) as served:
        assert served.get(ME)["name"] == "Nell"
    assert "local" not in (root / "people.json").read_text()


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "persona": ""},
        {"name": "x" * 81, "persona": ""},
        {"name": "a\x00b", "persona": ""},
        {"name": "Tom", "persona": "x" * 4001},
        {"name": "Tom"},
    ],
)
def test_a_faulty_persona_is_refused(home, body):
    assert home.ask("PUT", f"{ME}/persona", body, who="ana").status_code == 400
    assert home.get(ME, who="ana")["name"] == "User"


def test_samplers_are_drawn_for_their_visitor_and_character_only(home):
    wish = {"preset": "precise", "values": {"max_new_tokens": 3, "top_k": 40}}

    drawn = home.ask("PUT", f"{ME}/replies", wish, who="tom").json()["drawn"]

    assert (drawn["temperature"], drawn["max_new_tokens"], drawn["top_k"]) == (0.3, 3, 40)
    bot = home.library.bot("ada-bell")
    session = bot.new_session(user=home.accounts["tom"])
    reply = bot.reply(session, "Hello.", cancel=threading.Event(), user=home.accounts["tom"]).read()
    assert reply.num_reply_tokens == 3
    assert home.get(ME, who="ana")["drawn"]["temperature"] == 0.8
    assert home.get("characters/lila-quill/me", who="tom")["drawn"]["temperature"] == 0.8
    assert home.ask("PUT", f"{ME}/replies", {}, who="tom").json()["drawn"]["temperature"] == 0.8


@pytest.mark.parametrize(
    "wish",
    [
        {"preset": "/etc/passwd"},
        {"preset": "../x.toml"},
        {"values": {"temperature": 99}},
        {"values": {"stop": 1}},
        {"values": {"context_tokens": 64}},
        {"values": {"max_new_tokens": 1.5}},
        {"values": {"temperature": "hot"}},
        {"unknown": 1},
    ],
)
def test_a_wish_that_is_not_a_visitors_is_refused(home, wish):
    assert home.ask("PUT", f"{ME}/replies", wish, who="ana").status_code == 400
    assert home.get(ME, who="ana")["values"] == {}


def test_everyone_may_read_the_limits(home):
    assert home.get("settings", who="ana")["rating"] == "general"


def test_an_admin_writes_one_key_and_comments_stay(home):
    file = home.root / "home.toml"
    file.write_text("# ours\n[guard]\nburst = 10 # at once\nrequests_per_minute = 30\n")

    answer = home.ask("PUT", "settings/server", {"key": "guard.burst", "value": 4}).json()

    assert file.read_text() == "# ours\n[guard]\nburst = 4 # at once\nrequests_per_minute = 30\n"
    (burst,) = [each for each in answer["keys"] if each["key"] == "guard.burst"]
    assert (burst["written"], burst["value"]) == (4, 9999)  # it holds from the next start


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("guard.burst", 0),
        ("guard.burst", "many"),
        ("guard.rating", "everything"),
        ("server.host", "0.0.0.0"),
        ("server.trusted_proxies", "0.0.0.0/0"),
        ("age.provider", "none"),
        ("guard", 1),
        ('guard.burst = 1\n[age]\nprovider = "none', 1),
    ],
)
def test_a_key_that_is_not_for_the_page_or_a_wrong_value_changes_no_file(home, key, value):
    before = [path.read_bytes() for path in sorted(home.root.glob("*.toml"))]

    assert home.ask("PUT", "settings/server", {"key": key, "value": value}).status_code == 400
    assert [path.read_bytes() for path in sorted(home.root.glob("*.toml"))] == before


def test_a_characters_settings_hold_at_once(home):
    place = "characters/lila-quill/settings"

    home.ask("PUT", place, {"key": "character.user_name", "value": 'Passenger "P" \\ 7'})
    home.ask("PUT", place, {"key": "generation.max_new_tokens", "value": 5})
    keys = {each["key"]: each["value"] for each in home.get(place)["keys"]}

    assert keys["character.user_name"] == 'Passenger "P" \\ 7'
    assert home.get("characters/lila-quill/me", who="ana")["drawn"]["max_new_tokens"] == 5
    assert "# not a real one" in (home.root / "lila" / "duologue.toml").read_text()
    assert home.ask("PUT", place, {"key": "generation.preset", "value": "/etc/x.toml"}).status_code == 400
