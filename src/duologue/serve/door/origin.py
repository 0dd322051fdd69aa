"""Where a request comes from: from which page, and whether from this machine itself."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from duologue.errors import ConfigError

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SITE = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_PROXY_HEADERS = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from.

    Attributes:
        is_https: Whether the client's own connection is encrypted.
        hosts: Names under which the client knows this server, with the port where there is one.
        is_proxied: Whether a proxy had a hand in it, trusted or not.
        is_local: Whether it was made on this machine, to a local name, without a proxy.
        may_be_framed: Whether another site may show the page in a frame.
    """

    is_https: bool
    hosts: tuple[str, ...]
    is_proxied: bool
    is_local: bool
    may_be_framed: bool = False

    def is_own_page(self, headers: Headers) -> bool | None:
        """Return whether a page of this server made the request; None when the request does not say.

        Browsers say it in `Sec-Fetch-Site` where the connection can be trusted, and in `Origin` with every request
        that is not safe.
        """
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        origin = headers.get("origin")
        if origin is None:
            return None
        scheme, _, host = origin.partition("://")
        return host in self.hosts and scheme == ("https" if self.is_https else "http")


class Site:
    """The address of this server, and what it makes of a request.

    `Forwarded` has read before what the operator's own proxies say; what others say is not believed.

    Args:
        public_url: Address under which visitors reach the server; empty for that of the request.
        frame_ancestors: Sites that may show the page in a frame.

    Raises:
        ConfigError: An address cannot be read.
    """

    def __init__(self, public_url: str, *, frame_ancestors: Sequence[str] = ()) -> None:
        """Read the addresses once."""
        self.frame_ancestors = tuple(_site(address) for address in frame_ancestors)
        public = urlsplit(public_url)
        if public_url and (public.scheme not in ("http", "https") or not public.netloc or public.path.strip("/")):
            raise ConfigError(
                f"'{public_url}' is not the address of a server",
                where="server.public_url",
                needed="such as https://lila.example, without a path",
            )
        self._host = public.netloc
        self._is_https = public.scheme == "https"

    def origin(self, scope: Scope) -> Origin:
        """Return where a request comes from."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        is_proxied = any(name in headers for name in _PROXY_HEADERS) or _is_through_bare_proxy(scope, headers)
        is_from_here = is_loopback((scope.get("client") or ("", 0))[0]) and host_name(host) in LOCAL_NAMES
        return Origin(
            # A proxy that passes the public name on does the encryption, whether it says so or not.
            is_https=scope.get("scheme") == "https" or (self._is_https and host == self._host),
            hosts=tuple(name for name in (host, self._host) if name),
            is_proxied=is_proxied,
            is_local=is_from_here and not is_proxied and not self._host,
            may_be_framed=bool(self.frame_ancestors),
        )

    def base_url(self, scope: Scope) -> str:
        """Return the address under which the client reaches this server, without a final slash."""
        if self._host:
            return f"{'https' if self._is_https else 'http'}://{self._host}"
        return f"{'https' if self.origin(scope).is_https else 'http'}://{Headers(scope=scope).get('host', '')}"


def _is_through_bare_proxy(scope: Scope, headers: Headers) -> bool:
    """Return whether a request has passed a proxy that says nothing of itself and names this machine as the host.

    nginx with `proxy_pass` alone is one. It speaks HTTP/1.0 (until 1.29), which no browser and no client of the API
    does; and what a page asks for names the address under which the page was opened. Who follows a link from another
    site says so, and is no such page.
    """
    is_link = headers.get("sec-fetch-site") == "cross-site"
    pages = (headers.get(name, "") for name in ("origin", *(() if is_link else ("referer",))))
    return scope.get("http_version") == "1.0" or any(page and not _is_here(page) for page in pages)


def _is_here(page: str) -> bool:
    try:
        return urlsplit(page).hostname in LOCAL_NAMES
    except ValueError:  # such as a bracket that is never closed
        return False


def _site(address: str) -> str:
    """Return the address of a site that may frame the page: one site, over https or on this machine.

    Raises:
        ConfigError: It is none; a pattern or a path would let others in.
    """
    if _SITE.fullmatch(address):
        scheme, _, host = address.partition("://")
        if scheme == "https" or host_name(host) in LOCAL_NAMES:
            return address.casefold()
    raise ConfigError(
        f"'{address}' is not the address of a site",
        where="server.frame_ancestors",
        needed="such as https://huggingface.co, without a path and without *",
    )


def host_name(host: str) -> str:
    """Return a host without its port; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as a bracket that is never closed
        return ""
