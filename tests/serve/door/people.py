"""People and programs at the door of a running server."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from duologue.errors import GuardError
from duologue.serve.door import Account
from duologue.serve.door.throttle import Throttle
from duologue.serve.visitor import Role
from tests.serve.running import Running

PASSWORD = "paper lantern seven owls"
BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Person:
    """Somebody with an account and a browser.

    Attributes:
        account: The account.
        browser: Carries the cookie and, as browsers do, says which page asks.
    """

    account: Account
    browser: httpx.Client

    def headers(self, way: str) -> dict[str, str]:
        """Return what a request carries that comes in with the login (`session`) or with a new key (`key`)."""
        if way == "key":
            return self.key("for a test")
        cookies = "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())
        return {"Origin": self.browser.headers["Origin"], "Cookie": cookies}

    def key(self, name: str = "a program") -> dict[str, str]:
        """Return the header of a new API key."""
        answer = self.browser.post("/page/account/keys", json={"name": name})
        assert answer.status_code == 201, answer.text
        return bearer(answer.json()["key"])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def own_page(server: Running) -> dict[str, str]:
    """Return what a browser says of a request that a page of the server makes."""
    return {"Origin": server.url}


@contextlib.contextmanager
def logged_in(server: Running, name: str, *, role: Role = "user", password: str = PASSWORD) -> Iterator[Person]:
    """Make an account, log a browser in to it, and remove it at the end."""
    server.door.throttle = Throttle()  # the tests of a file come from one address
    account = server.door.add_account(name, password, role=role)
    try:
        with browsing(server) as browser:
            answer = browser.post("/login", data={"name": name, "password": password})
            assert answer.status_code == 303, answer.text
            yield Person(account, browser)
    finally:
        with contextlib.suppress(GuardError):  # the test has removed it
            server.door.remove_account(account.id)


@contextlib.contextmanager
def browsing(server: Running, **headers: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={**own_page(server), **headers}, timeout=30) as browser:
        yield browser
