"""Who stands behind a reverse proxy. Only the operator's own proxies are believed: anyone can write these headers.

Each proxy appends the address it was called from, so the list is read from its end: the last address that is no proxy
of ours is the visitor's, and whatever the visitor wrote lies before it.
"""

import ipaddress
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from duologue.errors import ConfigError
from duologue.serve.visitor import set_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SCHEMES = frozenset({"http", "https"})


class Forwarded:
    """Takes address and scheme of a request from the headers of trusted proxies.

    Args:
        app: The app behind it.
        trusted_proxies: Addresses or networks; empty believes nobody.

    Raises:
        ConfigError: One of them is neither.
    """

    def __init__(self, app: ASGIApp, *, trusted_proxies: Sequence[str]) -> None:
        """Read the networks."""
        self._app = app
        self._trusted = read_networks(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] == "http" and self._trusted and self._is_trusted((scope.get("client") or ("", 0))[0]):
            self._read(scope)
        await self._app(scope, receive, send)

    def _read(self, scope: Scope) -> None:
        hops = [hop.strip() for value in _values(scope, b"x-forwarded-for") for hop in value.split(",")]
        address = ""
        for hop in reversed(hops):
            known = _address(hop)
            if not known:
                break  # what a trusted proxy did not write as an address says nothing, nor does what lies before it
            address = known
            if not self._is_trusted(known):
                break
        if address:
            set_address(scope, address)
        schemes = [
            scheme.strip().lower() for value in _values(scope, b"x-forwarded-proto") for scheme in value.split(",")
        ]
        if schemes and schemes[-1] in _SCHEMES:
            scope["scheme"] = schemes[-1]

    def _is_trusted(self, host: str) -> bool:
        try:
            address = _unmapped(ipaddress.ip_address(host))
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks as they are written in the configuration.

    Raises:
        ConfigError: One is neither an address nor a network.
    """
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError as error:
            raise ConfigError(
                f"'{text}' is no address and no network",
                where="server.trusted_proxies",
                needed="such as '127.0.0.1' or '10.0.0.0/8'",
            ) from error
    return tuple(networks)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _address(hop: str) -> str:
    """Return the address of a hop, which may carry a port: `192.0.2.7:4711`, `[2001:db8::1]:4711`."""
    host = hop.partition("]")[0].removeprefix("[") if hop.startswith("[") else hop
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(_unmapped(ipaddress.ip_address(host)))
    except ValueError:
        return ""


def _unmapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for (`::ffff:192.0.2.7`), else the address."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address
