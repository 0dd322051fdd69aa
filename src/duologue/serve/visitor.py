"""Who a request comes from. The door (`door/`) decides it once; everything behind asks here."""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from starlette.types import Scope

LOCAL_ACCOUNT = "local"  # whoever sits at this machine or has the one key
_KEY = "duologue.visitor"
_ADDRESS = "duologue.address"

Role = Literal["admin", "user"]
Way = Literal["local", "shared_key", "session", "api_key"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Attributes:
        account: Under which chats, memories and proofs of age are kept.
        name: As shown.
        role: An admin may also make, change and train characters and see the server's state.
        way: How they came in; a program comes with an API key, a person at a page with a session.
        key_id: Which API key it was; empty without one.
        login_id: Which login of a browser it was; empty without one.
        is_local: Whether they sit at this machine: the request came over loopback, to a local name, through no proxy.
    """

    account: str = LOCAL_ACCOUNT
    name: str = ""
    role: Role = "admin"
    way: Way = "local"
    key_id: str = ""
    login_id: str = ""
    is_local: bool = True


def set_visitor(scope: Scope, visitor: Visitor) -> None:
    """Say who a request comes from; only the door does that."""
    scope[_KEY] = visitor


def visitor_of(scope: Scope) -> Visitor:
    """Return who a request comes from."""
    visitor = scope.get(_KEY)
    assert isinstance(visitor, Visitor), "a request came in without passing the door"
    return visitor


def set_address(scope: Scope, address: str) -> None:
    """Say which address a request comes from, where a trusted proxy has told it."""
    scope[_ADDRESS] = address


def address_of(scope: Scope) -> str:
    """Return the address under which a request is counted; an IPv6 address counts with its /64 network."""
    told = scope.get(_ADDRESS)
    host = told if isinstance(told, str) else (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
