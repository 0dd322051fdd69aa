"""Who stands behind a reverse proxy, and who only says so."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.errors import ConfigError
from duologue.serve.forwarded import Forwarded
from duologue.serve.visitor import address_of

PROXIES = ("10.0.0.0/8", "fd00::1")


def seen(*headers: tuple[str, str], client: str = "10.0.0.1", trusted: tuple[str, ...] = PROXIES) -> tuple[str, str]:
    """Return address and scheme behind the middleware."""
    found = {}

    async def app(scope: dict[str, Any], receive: object, send: object) -> None:
        found["address"], found["scheme"] = address_of(scope), scope["scheme"]

    scope = {
        "type": "http",
        "scheme": "http",
        "client": (client, 4711),
        "headers": [(name.lower().encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers],
    }
    asyncio.run(Forwarded(app, trusted_proxies=trusted)(scope, None, None))
    return found["address"], found["scheme"]


def forwarded(value: str) -> tuple[str, str]:
    return ("X-Forwarded-For", value)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:55123", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.9", "192.0.2.7"),
        ("203.0.113.5, 192.0.2.7, 10.0.0.9", "192.0.2.7"),
        ("10.0.0.9, 192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("unknown", "10.0.0.1"),
        ("192.0.2.7, nonsense", "10.0.0.1"),
        ("nonsense, 192.0.2.7", "192.0.2.7"),
        ("", "10.0.0.1"),
    ],
)
def test_the_last_hop_that_is_no_proxy_of_ours_is_the_visitor(value: str, address: str) -> None:
    assert seen(forwarded(value))[0] == address


def test_several_headers_are_one_list() -> None:
    assert seen(forwarded("203.0.113.5"), forwarded("192.0.2.7"))[0] == "192.0.2.7"


@pytest.mark.parametrize("client", ["192.0.2.200", "127.0.0.1", "::1", ""])
def test_whoever_is_no_proxy_of_ours_is_not_believed(client: str) -> None:
    headers = (forwarded("198.51.100.1"), ("X-Forwarded-Proto", "https"))

    assert seen(*headers, client=client)[0] != "198.51.100.1"
    assert seen(*headers, client=client)[1] == "http"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert seen(forwarded("198.51.100.1"), trusted=()) == ("10.0.0.1", "http")


@given(st.text(max_size=60))
def test_whatever_a_visitor_writes_before_it_the_address_that_our_proxy_saw_is_taken(spoofed: str) -> None:
    assert seen(forwarded(f"{spoofed}, 192.0.2.7"))[0] == "192.0.2.7"


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("https", "https"), ("http", "http"), ("http, https", "https"), ("gopher", "http"), ("", "http")],
)
def test_the_scheme_is_what_the_nearest_proxy_says(value: str, scheme: str) -> None:
    assert seen(("X-Forwarded-Proto", value))[1] == scheme


def test_a_proxy_that_is_no_address_is_told() -> None:
    with pytest.raises(ConfigError, match="'proxy' is no address and no network"):
        Forwarded(lambda *_: None, trusted_proxies=("10.0.0.1", "proxy"))
