"""Accounts, passwords, keys and logins as they are kept, in a file and on a server."""

import sqlite3
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters

from duologue.errors import GuardError
from duologue.serve.door import Accounts, Book
from duologue.serve.door import passwords as passwords_module
from duologue.serve.door.logins import LOGIN_SECONDS, Logins
from duologue.serve.visitor import LOCAL_ACCOUNT
from tests.conformance.server import postgres_server, postgres_url
from tests.serve.door.people import PASSWORD

__all__ = ["postgres_server", "postgres_url"]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def book(request, tmp_path):
    place = tmp_path / "accounts.sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    book = Book(place, folder=tmp_path, clock=Clock())
    yield book
    book.close()


@pytest.fixture
def accounts(book) -> Accounts:
    return Accounts(book)


def reason(caught: pytest.ExceptionInfo[GuardError]) -> str:
    return caught.value.reason


def test_an_account_is_found_by_name_and_password_however_the_name_is_typed(accounts):
    assert not accounts.exist()
    made = accounts.add("Mara", PASSWORD, role="admin")

    assert accounts.exist()
    assert accounts.with_password("mara", PASSWORD) == made
    assert accounts.with_password(" \uff2d\uff21\uff32\uff21 ", PASSWORD) == made  # full-width letters
    assert accounts.with_password("mara", PASSWORD + "!") is None
    assert accounts.with_password("nobody", PASSWORD) is None
    assert accounts.with_password("ma\0ra", PASSWORD) is None


def test_two_accounts_do_not_share_a_name_and_a_name_that_comes_again_is_another_account(accounts):
    first = accounts.add("mara", PASSWORD, role="admin")
    with pytest.raises(GuardError) as taken:
        accounts.add("MARA", PASSWORD, role="user")
    accounts.remove(first.id)
    second = accounts.add("mara", PASSWORD, role="admin")

    assert reason(taken) == "name_taken"
    assert second.id != first.id  # it must not find the chats of the first


@pytest.mark.parametrize("name", ["", " ", "a b", "../x", "x" * 65, "-x", "ma\nra", "ma\u202era", "<b>"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(accounts, name):
    with pytest.raises(GuardError) as refused:
        accounts.add(name, PASSWORD, role="user")

    assert reason(refused) == "bad_name"


@pytest.mark.parametrize("password", ["", "short", "x" * 257, "long-name-of-mine"])
def test_a_weak_password_is_refused_when_it_is_made_and_when_it_is_changed(accounts, password):
    made = accounts.add("long-name-of-mine", PASSWORD, role="admin")
    with pytest.raises(GuardError) as adding:
        accounts.add("long-name-of-mine", password, role="user")
    with pytest.raises(GuardError) as changing:
        accounts.set_password(made.id, password)

    assert (reason(adding), reason(changing)) == ("weak_password", "weak_password")
    assert accounts.with_password("long-name-of-mine", PASSWORD) == made


def test_a_password_is_kept_as_argon2id_with_the_parameters_of_owasp_and_no_key_or_token_can_be_read(tmp_path):
    book = Book(tmp_path / "accounts.sqlite", folder=tmp_path)
    accounts = Accounts(book)
    account = accounts.add("mara", PASSWORD, role="admin")
    key = accounts.add_key(account.id, "notebook").key
    token = Logins(book, shared_key="").begin(account.id)
    [row] = book.read("SELECT password FROM accounts")
    parameters = extract_parameters(row["password"])
    book.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("accounts.sqlite*"))

    assert (parameters.type.name, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        "ID",
        19 * 1024,
        2,
        1,
    )
    for secret in (PASSWORD, key, key.split("-", 2)[2], token):
        assert secret.encode() not in kept
    assert Path(tmp_path / "accounts.sqlite").stat().st_mode & 0o077 == 0


def test_an_older_hash_is_made_anew_when_its_owner_comes_in(accounts, book):
    account = accounts.add("mara", PASSWORD, role="admin")
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with book.write() as cursor:
        cursor.execute("UPDATE accounts SET password = ?", (weak,))
    assert accounts.with_password("mara", "something else") is None
    assert accounts.with_password("mara", PASSWORD) == account

    [row] = book.read("SELECT password FROM accounts")
    assert extract_parameters(row["password"]).memory_cost == 19 * 1024
    assert accounts.with_password("mara", PASSWORD) == account


def test_a_name_that_does_not_exist_costs_as_many_hashes_as_one_that_does(accounts, monkeypatch):
    accounts.add("mara", PASSWORD, role="admin")
    accounts.with_password("nobody", "x")  # makes the hash that nobody has
    verified: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash, password):  # noqa: A002
            verified.append(hash)
            return super().verify(hash, password)

    monkeypatch.setattr(passwords_module, "_HASHER", Counting(time_cost=2, memory_cost=19 * 1024, parallelism=1))
    accounts.with_password("mara", "wrong wrong wrong")
    accounts.with_password("nobody", "wrong wrong wrong")

    known, unknown = (extract_parameters(hashed) for hashed in verified)
    assert known == unknown


def test_a_password_is_the_same_however_the_keyboard_composes_its_letters(accounts):
    made = accounts.add("mara", "Grüße aus Köln", role="admin")

    assert accounts.with_password("mara", "Gru\u0308ße aus Ko\u0308ln") == made


def test_the_last_admin_stays_while_others_are_there(accounts):
    admin = accounts.add("mara", PASSWORD, role="admin")
    user = accounts.add("jonas", PASSWORD, role="user")
    with pytest.raises(GuardError) as refused:
        accounts.remove(admin.id)
    accounts.remove(user.id)
    accounts.remove(admin.id)

    assert reason(refused) == "last_admin"
    assert not accounts.exist()


def test_a_key_comes_in_as_its_account_notes_its_use_and_ends_when_it_is_removed(accounts, book):
    account = accounts.add("mara", PASSWORD, role="user")
    made = accounts.add_key(account.id, " my   notebook ")
    [before] = accounts.keys(account.id)
    found = accounts.with_key(made.key)
    [after] = accounts.keys(account.id)

    assert made.name == "my notebook"
    assert (before.used_at, before.key, after.used_at) == (0.0, "", book.clock())
    assert found is not None
    assert found.account == account
    for wrong in ("", "dk", f"dk-{made.id}-", made.key + "x", made.key[:-1], made.key.replace("dk-", "DK-"), "a\0b"):
        assert accounts.with_key(wrong) is None
    accounts.remove_key(account.id, made.id)
    assert accounts.with_key(made.key) is None


def test_nobody_removes_another_accounts_key(accounts):
    mara, jonas = (accounts.add(name, PASSWORD, role="user") for name in ("mara", "jonas"))
    key = accounts.add_key(mara.id, "notebook")
    refusals = []
    for key_id in (key.id, "0000"):
        with pytest.raises(GuardError) as refused:
            accounts.remove_key(jonas.id, key_id)
        refusals.append(str(refused.value))

    assert refusals[0] == refusals[1]
    assert accounts.with_key(key.key) is not None


def test_keys_are_bounded_in_number_and_their_names_are_plain(accounts):
    account = accounts.add("mara", PASSWORD, role="user")
    for number in range(50):
        accounts.add_key(account.id, f"key {number}")
    with pytest.raises(GuardError) as many:
        accounts.add_key(account.id, "one more")
    for name in ("", "  ", "x" * 81, "a\x1b[31mb"):
        with pytest.raises(GuardError) as bad:
            accounts.add_key(account.id, name)
        assert reason(bad) == "bad_name"

    assert reason(many) == "too_many_keys"


def test_a_login_lasts_thirty_days_and_ends_with_its_account_or_a_new_password(accounts, book):
    logins = Logins(book, shared_key="")
    account = accounts.add("mara", PASSWORD, role="admin")
    tokens = [logins.begin(account.id) for _ in range(3)]
    logins.end(tokens[0])
    assert logins.find(tokens[0]) is None
    found = logins.find(tokens[1])
    assert found is not None
    assert (found.visitor.account, found.visitor.role, found.visitor.way) == (account.id, "admin", "session")
    accounts.set_password(account.id, PASSWORD + "!")
    assert logins.find(tokens[1]) is None

    late = logins.begin(account.id)
    book.clock.now += LOGIN_SECONDS - 1
    assert logins.find(late) is not None
    book.clock.now += 1
    assert logins.find(late) is None
    last = logins.begin(account.id)
    accounts.remove(account.id)
    assert logins.find(last) is None


def test_a_login_with_the_shared_key_ends_when_the_key_changes(book):
    token = Logins(book, shared_key="first").begin(LOCAL_ACCOUNT)

    assert Logins(book, shared_key="first").find(token) is not None
    assert Logins(book, shared_key="second").find(token) is None
    assert Logins(book, shared_key="").find(token) is None


def test_logging_in_ends_what_the_browser_showed_before_and_an_account_has_fifty_logins_at_most(accounts, book):
    logins = Logins(book, shared_key="")
    account = accounts.add("mara", PASSWORD, role="admin")
    first = logins.begin(account.id)
    second = logins.begin(account.id, old_token=first)
    for _ in range(50):
        book.clock.now += 1
        last = logins.begin(account.id)
    [row] = book.read("SELECT count(*) AS num FROM logins")

    assert logins.find(first) is None
    assert logins.find(second) is None  # the oldest made room
    assert logins.find(last) is not None
    assert row["num"] == 50


def test_a_home_without_accounts_gets_no_file(tmp_path):
    book = Book(tmp_path / "accounts.sqlite", folder=tmp_path)

    assert not Accounts(book).exist()
    assert Accounts(book).with_key("dk-12345678-abc") is None
    assert Logins(book, shared_key="").find("token") is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_of_accounts_lets_nobody_in(tmp_path):
    (tmp_path / "accounts.sqlite").write_bytes(b"not a database" * 100)
    book = Book(tmp_path / "accounts.sqlite", folder=tmp_path)

    with pytest.raises(Exception, match="damaged") as caught:
        Accounts(book).exist()
    assert not isinstance(caught.value, sqlite3.Error)
