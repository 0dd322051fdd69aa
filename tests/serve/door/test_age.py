"""The age gate: what opens it, for whom, for how long, and everything that does not."""

import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from duologue.config import Home
from duologue.errors import GuardError
from duologue.serve.door import Book, Door
from duologue.serve.door.age import ATTESTATION_DAYS, subject_of
from duologue.serve.door.throttle import Throttle
from duologue.serve.visitor import Visitor
from tests.serve.door.people import BODY, PASSWORD, Person, bearer, browsing, logged_in, own_page
from tests.serve.door.wallet import Asked, Issuer
from tests.serve.running import Gate, GatedGenerator, Running, make_bot, make_test_config, running

CHAT = "/v1/chat/completions"
KEY = "shared secret"
ISSUER = Issuer()
DAY = 86_400.0
SEEN_SECONDS = 1.2  # after which a running reply has been checked anew


class Clock:
    """The true time, and what a test adds to it."""

    added = 0.0

    def __call__(self) -> float:
        return time.time() + self.added


CLOCK = Clock()


def config_with(folder: Path, *, provider: str = "openid4vp", public_url: str = "", rating: str = "adult"):
    (folder / "issuer.pem").write_bytes(ISSUER.pem())
    config = make_test_config(rating=rating)
    age = config.age.model_copy(update={"provider": provider, "trusted_issuers": (str(folder / "issuer.pem"),)})
    return config.model_copy(update={"age": age, "server": config.server.model_copy(update={"public_url": public_url})})


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A server with a character for adults, accounts, a shared key and a provider of proofs."""
    folder = tmp_path_factory.mktemp("gated")
    config = config_with(folder)
    with running(make_bot(folder, config=config), config=config, accounts=folder, api_key=KEY, clock=CLOCK) as server:
        server.door.add_account("owner", PASSWORD, role="admin")
        yield server


@pytest.fixture(autouse=True)
def fresh(request):
    if "gated" in request.fixturenames:
        request.getfixturevalue("gated").door.throttle = Throttle()
    CLOCK.added = 0.0


def talk(server: Running, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(server.url + CHAT, json=BODY, headers=headers)


def is_refused(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and answer.json()["error"]["code"] == "age_required"


def begin(browser: httpx.Client) -> tuple[str, Asked]:
    """Press the button and return the page of the attempt and what a wallet reads there."""
    started = browser.post("/age/start", data={"character": "lila-quill"})
    assert started.status_code == 303, started.text
    place = started.headers["location"]
    page = browser.get(place)
    assert page.status_code == 200
    [link] = re.findall(r'href="(av://[^"]+)"', page.text)
    return place, Asked.read(link.replace("&amp;", "&"))


def code_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return parse_qs(urlsplit(answer.json()["redirect_uri"]).query)["code"][0]


def prove(person: Person) -> None:
    """Prove an age with a wallet on the same device."""
    _, asked = begin(person.browser)
    answer = ISSUER.issue().post(asked)
    back = person.browser.get(answer.json()["redirect_uri"])
    assert (back.status_code, back.headers["location"]) == (303, "/age?character=lila-quill")


# ------------------------------------------------------------------------------------------------------- wallets


def test_a_wallet_opens_the_gate_for_its_account_and_for_that_accounts_keys_alone(gated):
    with logged_in(gated, "mara") as mara, logged_in(gated, "jonas") as jonas:
        key = mara.key()
        before = [
            mara.browser.post(CHAT, json=BODY),
            talk(gated, key),
            talk(gated, {**key, "X-Adult": "1", "X-Age": "18"}),
        ]
        prove(mara)
        after = [mara.browser.post(CHAT, json=BODY).status_code, talk(gated, key).status_code]
        others = [jonas.browser.post(CHAT, json=BODY), talk(gated, jonas.key()), talk(gated, bearer(KEY))]
        page = mara.browser.get("/age").text

    assert all(map(is_refused, before))
    assert after == [200, 200]
    assert all(map(is_refused, others))
    assert "You have shown that you are an adult" in page


def test_a_wallet_on_another_device_shows_a_code_that_is_typed_where_it_began(gated):
    with logged_in(gated, "mara") as mara:
        place, asked = begin(mara.browser)
        answer = ISSUER.issue().post(asked)
        on_the_phone = httpx.get(answer.json()["redirect_uri"])  # logged in nowhere
        shown = re.search(r'class="code">([A-Z0-9]+)<', on_the_phone.text)[1]
        waiting = mara.browser.get(place).text
        between = mara.browser.post(CHAT, json=BODY)
        wrong = mara.browser.post(f"{place}/code", data={"code": "BBBBBBBBBB"})
        told = mara.browser.get(wrong.headers["location"]).text
        right = mara.browser.post(f"{place}/code", data={"code": f" {shown[:5].lower()} {shown[5:]} "})
        after = mara.browser.post(CHAT, json=BODY)

    assert on_the_phone.status_code == 200
    assert "Never give it to anybody" in on_the_phone.text
    assert 'name="code"' in waiting
    assert is_refused(between)  # the answer alone opens nothing
    assert "not the code" in told
    assert right.headers["location"] == "/age?character=lila-quill"
    assert after.status_code == 200


def test_a_link_that_is_sent_to_an_adult_proves_nothing_about_the_sender(gated):
    with logged_in(gated, "child") as child, logged_in(gated, "parent") as parent:
        place, asked = begin(child.browser)
        answer = ISSUER.issue().post(asked)  # the parent's wallet, which was sent the link
        parents_page = parent.browser.get(answer.json()["redirect_uri"])
        guesses = [child.browser.post(f"{place}/code", data={"code": code}) for code in ("BCDFGHJKLM",) * 6]
        chats = [child.browser.post(CHAT, json=BODY), parent.browser.post(CHAT, json=BODY)]

    assert parents_page.status_code == 200  # shows the code and gives the proof to nobody
    assert guesses[-1].status_code == 404  # five wrong codes end the attempt
    assert all(map(is_refused, chats))


def test_another_accounts_attempt_looks_like_one_that_does_not_exist(gated):
    with logged_in(gated, "mara") as mara, logged_in(gated, "jonas") as jonas:
        place, asked = begin(mara.browser)
        code = code_of(ISSUER.issue().post(asked))
        others = [jonas.browser.get(place), jonas.browser.post(f"{place}/code", data={"code": code})]
        unknown = [
            jonas.browser.get("/age/attempts/x"),
            jonas.browser.post("/age/attempts/x/code", data={"code": code}),
        ]
        stolen = jonas.browser.get(f"/age/done?code={code}")
        refused = jonas.browser.post(CHAT, json=BODY)
        mine = mara.browser.post(f"{place}/code", data={"code": code})

    assert [answer.status_code for answer in others] == [404, 404]
    assert [answer.text for answer in others] == [answer.text for answer in unknown]
    assert stolen.status_code == 200  # a page with the code, and no proof
    assert is_refused(refused)
    assert mine.status_code == 303


def test_an_answer_counts_once_and_for_the_request_it_was_made_for(gated):
    wallet = ISSUER.issue()
    with logged_in(gated, "mara") as mara:
        _, first = begin(mara.browser)
        recorded = wallet.fields(first)
        answer = httpx.post(first.answer_url, data=recorded)
        replayed = httpx.post(first.answer_url, data=recorded)
        _, second = begin(mara.browser)
        elsewhere = httpx.post(second.answer_url, data={**recorded, "state": second.state})
        _, third = begin(mara.browser)
        other_state = wallet.post(third, state=first.state)
        _, fourth = begin(mara.browser)
        CLOCK.added = 601
        late = wallet.post(fourth)

    assert answer.status_code == 200
    assert replayed.status_code == 404
    assert (elsewhere.status_code, "device's signature is wrong" in elsewhere.text) == (400, True)
    assert (other_state.status_code, "another request's" in other_state.text) == (400, True)
    assert late.status_code == 404


def test_a_code_counts_once(gated):
    with logged_in(gated, "mara") as mara:
        _, asked = begin(mara.browser)
        answer = ISSUER.issue().post(asked).json()["redirect_uri"]
        assert mara.browser.get(answer).status_code == 303
        mara.browser.post("/age/revoke")
        again = mara.browser.get(answer)
        refused = mara.browser.post(CHAT, json=BODY)

    assert again.status_code == 200
    assert is_refused(refused)


@pytest.mark.parametrize(
    ("issuer", "claims", "told"),
    [
        (ISSUER, {"elements": {"age_over_18": False}}, "not true"),
        (ISSUER, {"days": (-90, -1)}, "expired"),
        (Issuer(), {}, "not one that this server trusts"),
    ],
)
def test_a_proof_that_is_not_good_is_told_on_the_page_and_opens_nothing(gated, issuer, claims, told):
    with logged_in(gated, "mara") as mara:
        place, asked = begin(mara.browser)
        answer = issuer.issue(**claims).post(asked)
        page = mara.browser.get(place).text
        refused = mara.browser.post(CHAT, json=BODY)
        second = ISSUER.issue().post(asked)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "age_unproven")
    assert told in page
    assert is_refused(refused)
    assert second.status_code == 404  # one attempt, one answer


@pytest.mark.parametrize("body", [b"", b"\xff", b"vp_token=1&vp_token=2", b"a=1&" * 40, b"vp_token=" + b"A" * 300_000])
def test_an_answer_that_is_none_is_refused_without_a_fault_of_ours(gated, body):
    with logged_in(gated, "mara") as mara:
        _, asked = begin(mara.browser)
        answer = httpx.post(asked.answer_url, content=body)
        unknown = httpx.post(f"{gated.url}/age/answer/%00x", content=body)

    assert answer.status_code in (400, 413)
    assert unknown.status_code in (400, 404)


def test_a_proof_ends_after_its_time_and_when_it_is_taken_back(gated):
    with logged_in(gated, "mara") as mara:
        prove(mara)
        CLOCK.added = 30 * DAY - 60
        in_time = gated.door.age.proof(Visitor(mara.account.id, "mara", "user", "session", is_local=False))
        CLOCK.added = 30 * DAY + 60
        too_late = gated.door.age.proof(Visitor(mara.account.id, "mara", "user", "session", is_local=False))
        CLOCK.added = 0.0
        assert mara.browser.post(CHAT, json=BODY).status_code == 200
        mara.browser.post("/age/revoke")
        taken_back = mara.browser.post(CHAT, json=BODY)

    assert in_time is not None
    assert too_late is None
    assert is_refused(taken_back)


def test_a_new_account_of_an_old_name_has_no_proof(gated):
    with logged_in(gated, "mara") as mara:
        prove(mara)
    with logged_in(gated, "mara") as mara:
        assert is_refused(mara.browser.post(CHAT, json=BODY))


# ------------------------------------------------------------------------------------------------- the shared key


def test_whoever_has_the_shared_key_proves_their_age_for_their_own_browser_alone(gated):
    with browsing(gated, **{"X-Forwarded-For": "203.0.113.9"}) as one, browsing(gated, Via="x") as other:
        for browser in (one, other):
            assert browser.post("/login", data={"key": KEY}).status_code == 303
        _, asked = begin(one)
        assert one.get(ISSUER.issue().post(asked).json()["redirect_uri"]).status_code == 303
        came = one.post(CHAT, json=BODY)
        refused = [other.post(CHAT, json=BODY), talk(gated, bearer(KEY))]
        program = httpx.get(f"{gated.url}/age", headers=bearer(KEY) | {"Via": "x"}).text
        one.post("/logout")
        one.post("/login", data={"key": KEY})
        anew = one.post(CHAT, json=BODY)

    assert came.status_code == 200
    assert all(map(is_refused, refused))  # the key is no pass
    assert "belongs to a person" in program
    assert is_refused(anew)


# ------------------------------------------------------------------------------------------------------- attestation


def test_the_operator_attests_once_on_their_own_machine_and_can_take_it_back(tmp_path):
    config = make_test_config(rating="adult")
    with (
        running(make_bot(tmp_path, config=config), config=config, accounts=tmp_path, clock=CLOCK) as server,
        browsing(server) as browser,
    ):
        before = browser.post(CHAT, json=BODY)
        asked = browser.get("/age?character=lila-quill", headers={"Accept-Language": "de"}).text
        unticked = browser.post("/age/attest", data={"character": "lila-quill"})
        foreign = httpx.post(f"{server.url}/age/attest", data={"adult": "yes"}, headers={"Origin": "https://evil.test"})
        proxied = browser.post("/age/attest", data={"adult": "yes"}, headers={"X-Forwarded-For": "203.0.113.9"})
        attested = browser.post("/age/attest", data={"adult": "yes", "character": "lila-quill"})
        after = browser.post(CHAT, json=BODY)
        dated = browser.get("/age").text
        CLOCK.added = ATTESTATION_DAYS * DAY + 60
        much_later = browser.post(CHAT, json=BODY)
        CLOCK.added = 0.0
        browser.post("/age/revoke")
        taken_back = browser.post(CHAT, json=BODY)

    assert is_refused(before)
    assert "adult" in asked
    assert "Lila Quill" in asked
    assert "18 oder älter" in asked
    assert 'name="adult"' in asked
    assert [answer.status_code for answer in (unticked, foreign, proxied)] == [403, 403, 403]
    assert attested.headers["location"] == "/age?character=lila-quill"
    assert after.status_code == 200
    assert re.search(r"on \d{4}-\d\d-\d\d", dated)
    assert is_refused(much_later)
    assert is_refused(taken_back)


def test_an_attestation_counts_on_this_machine_alone_and_for_admins_alone(gated):
    with logged_in(gated, "boss", role="admin") as boss, logged_in(gated, "child") as child:
        by_user = child.browser.post("/age/attest", data={"adult": "yes"})
        from_afar = boss.browser.post("/age/attest", data={"adult": "yes"}, headers={"X-Forwarded-For": "203.0.113.9"})
        by_name = boss.browser.post(
            "/age/attest", data={"adult": "yes"}, headers={"Host": "evil.test", "Origin": "http://evil.test"}
        )
        here = boss.browser.post("/age/attest", data={"adult": "yes"})
        at_home = boss.browser.post(CHAT, json=BODY)
        afar = boss.browser.post(CHAT, json=BODY, headers={"X-Forwarded-For": "203.0.113.9"})
        childs = child.browser.post(CHAT, json=BODY)

    assert [answer.status_code for answer in (by_user, from_afar, by_name)] == [403, 403, 403]
    assert (here.status_code, at_home.status_code) == (303, 200)
    assert is_refused(afar)
    assert is_refused(childs)


def test_without_a_provider_nobody_from_elsewhere_comes_through(tmp_path):
    config = config_with(tmp_path, provider="none", public_url="http://lila.example")
    with (
        running(make_bot(tmp_path, config=config), config=config, accounts=tmp_path, api_key=KEY) as server,
        logged_in(server, "mara", role="admin") as mara,
    ):
        page = mara.browser.get("/age").text
        tries = [mara.browser.post("/age/start"), mara.browser.post("/age/attest", data={"adult": "yes"})]
        refused = mara.browser.post(CHAT, json=BODY)

    assert "no way to check" in page
    assert "<form" not in page
    assert [answer.status_code for answer in tries] == [403, 403]
    assert is_refused(refused)


# ------------------------------------------------------------------------------------------------ forged and flipped


def test_a_row_that_somebody_writes_copies_or_prolongs_is_no_proof(gated):
    with logged_in(gated, "mara") as mara, logged_in(gated, "jonas") as jonas:
        prove(mara)
        book = gated.door.book
        [row] = book.read("SELECT * FROM age_proofs WHERE subject = ?", (f"account:{mara.account.id}",))
        forged = {**dict(row), "subject": f"account:{jonas.account.id}"}
        insert = (
            "INSERT INTO age_proofs (subject, kind, made_at, expires_at, signature)"
            " VALUES (:subject, :kind, :made_at, :expires_at, :signature)"
        )
        with book.write() as cursor:
            cursor.execute(insert, forged)
            cursor.execute("UPDATE age_proofs SET expires_at = expires_at + 1 WHERE subject = ?", (row["subject"],))
        gated.door.age._known.clear()
        refused = [jonas.browser.post(CHAT, json=BODY), mara.browser.post(CHAT, json=BODY)]

    assert all(map(is_refused, refused))


def test_forged_cookies_and_headers_do_not_open_the_gate(gated):
    with logged_in(gated, "mara") as mara:
        cookie = f"duologue={mara.browser.cookies['duologue']}"
        tries = [
            talk(gated, {**own_page(gated), "Cookie": f"{cookie}; {extra}"})
            for extra in ("age=18", "adult=1", "duologue_age=true", "age_over_18=true")
        ]
        query = mara.browser.post(f"{CHAT}?adult=true&age_over_18=true", json=BODY)
        field = mara.browser.post(CHAT, json={**BODY, "metadata": {"adult": "true"}})

    assert all(map(is_refused, tries))
    assert is_refused(query)
    assert field.status_code in (400, 403)


def test_a_proof_that_is_taken_back_ends_the_reply_that_runs(tmp_path):
    config = make_test_config(rating="adult")
    gate = Gate()
    generator = GatedGenerator(gate, reply="one two three four")
    with (
        running(make_bot(tmp_path, generator=generator, config=config), config=config, accounts=tmp_path) as server,
        browsing(server) as browser,
    ):
        browser.post("/age/attest", data={"adult": "yes"})
        with browser.stream("POST", CHAT, json={**BODY, "stream": True}) as answer:
            lines = answer.iter_lines()
            first = next(line for line in lines if "one" in line)
            server.door.age.revoke(Visitor())
            time.sleep(SEEN_SECONDS)
            gate.opened.set()
            rest = "".join(lines)
        server.wait_until_idle()

    assert first
    assert "three" not in rest
    assert "age_required" in rest


def test_nothing_of_a_character_for_adults_is_shown_before_the_proof(gated):
    with logged_in(gated, "mara") as mara:
        character = gated.bot.character
        told_of = [character.description, character.greeting]
        seen = [
            mara.browser.get(path)
            for path in ("/page/state", "/v1/models", "/v1/models/lila-quill", "/age?character=lila-quill", "/")
        ]

        shut = [
            mara.browser.get(f"/page/characters/lila-quill/{name}")
            for name in ("avatar.webp", "portrait.webp", "card", "chats", "memory", "me", "contexts")
        ]
        shut.append(mara.browser.post("/page/characters/lila-quill/chats", json={}))

    assert [answer.url.path for answer in shut if not is_refused(answer)] == []
    told = "".join(answer.text for answer in seen)
    for text in filter(None, told_of):
        assert text[:60] not in told
        assert text[:60] not in told.replace("&#x27;", "'")


# -------------------------------------------------------------------------------------------------------- by itself


def test_whom_a_proof_belongs_to():
    assert subject_of(Visitor()) == "local"
    assert subject_of(Visitor("a-1", "mara", "user", "api_key", "k")) == "account:a-1"
    assert subject_of(Visitor("a-1", "mara", "user", "session", login_id="l")) == "account:a-1"
    assert subject_of(Visitor(way="shared_key", login_id="l-1")) == "login:l-1"
    assert subject_of(Visitor(way="shared_key")) == ""


def test_the_secret_is_kept_for_its_owner_alone_and_the_same_for_every_process(tmp_path):
    secrets = {Book(tmp_path / "accounts.sqlite", folder=tmp_path).secret() for _ in range(2)}
    [path] = tmp_path.iterdir()

    assert len(secrets) == 1
    assert path.stat().st_mode & 0o077 == 0


class SetClock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_attestation_is_no_pass_for_whoever_has_the_shared_key_elsewhere(tmp_path):
    door = Door(Book(tmp_path / "a.sqlite", folder=tmp_path), Home(), shared_key=KEY)
    door.age.attest(Visitor())

    assert door.age.allows(Visitor(way="shared_key", is_local=True), "adult")
    assert not door.age.allows(Visitor(way="shared_key", is_local=False), "adult")
    assert not door.age.allows(Visitor(way="shared_key", role="user", is_local=True), "adult")
    door.close()


def test_a_proof_from_a_time_that_has_not_come_is_none(tmp_path):
    clock = SetClock()
    door = Door(Book(tmp_path / "a.sqlite", folder=tmp_path, clock=clock), Home(), shared_key="")
    clock.now += 10 * DAY
    door.age.attest(Visitor())
    assert door.age.proof(Visitor()) is not None
    clock.now -= 10 * DAY  # the clock was ahead, and with it the end of the proof

    assert door.age.proof(Visitor()) is None
    door.close()


def test_a_proof_that_another_process_takes_back_is_gone_within_a_second(tmp_path):
    clock = SetClock()
    first, second = (
        Door(Book(tmp_path / "a.sqlite", folder=tmp_path, clock=clock), Home(), shared_key="") for _ in range(2)
    )
    first.age.attest(Visitor())
    assert first.age.allows(Visitor(), "adult")
    second.age.revoke(Visitor())
    clock.now += 1.0

    assert not first.age.allows(Visitor(), "adult")
    first.close()
    second.close()


def test_a_proof_is_worth_nothing_under_another_secret(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    first = Door(Book(tmp_path / "a.sqlite", folder=tmp_path / "one"), Home(), shared_key="")
    first.age.attest(Visitor())
    second = Door(Book(tmp_path / "a.sqlite", folder=tmp_path / "other"), Home(), shared_key="")

    assert first.age.proof(Visitor()) is not None
    assert second.age.proof(Visitor()) is None
    with pytest.raises(GuardError) as refused:
        second.age.require(Visitor(), "mature")
    assert refused.value.reason == "age_required"
    first.close()
    second.close()
