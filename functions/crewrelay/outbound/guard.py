"""Which addresses a webhook may have. A caller must not reach what only this machine, or the network it is in, can.

A URL is checked when it is submitted, and once more with the addresses that its name has when it is called: the
connection goes to the address that was checked.
"""

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from crewrelay.jobs.errors import InvalidRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

LONGEST_URL = 2048  # characters
_PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# https://www.iana.org/assignments/iana-ipv4-special-registry, multicast and reserved addresses
_REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    """.split()
)
# Public addresses are in 2000::/3 alone; of these, https://www.iana.org/assignments/iana-ipv6-special-registry
_PUBLIC_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(text) for text in "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20".split()
)


class Target(NamedTuple):
    scheme: str
    host: str  # in lower case, without brackets
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Guard:
    """Lets public addresses pass over https, and those in `networks` over http as well."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def target(self, url: str) -> Target:
        """Raises InvalidRequest if the URL may not be called, whatever address its name has."""
        target = _parsed(url)
        if target.scheme == "http" and not self._networks:
            raise InvalidRequest("must begin with https://")
        if address := _literal(target.host):
            self._require(target, address)
        return target

    def addresses(self, target: Target, resolve: Resolve) -> list[str]:
        """The addresses of the target's name, all of which may be called. Raises InvalidRequest, OSError."""
        found = [target.host] if _literal(target.host) else list(dict.fromkeys(resolve(target.host, target.port)))
        if not found:
            raise OSError("the name has no address")
        for text in found:
            self._require(target, ip_address(text.partition("%")[0]))
        return found

    def _require(self, target: Target, address: Address) -> None:
        if any(address in network for network in self._networks):
            return
        if not is_public(address):
            raise InvalidRequest("must not lead to a private or reserved address")  # which one is not for callers
        if target.scheme == "http":
            raise InvalidRequest("must begin with https://")


def is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)


def networks_of(text: str) -> tuple[Network, ...]:
    """Networks as CIDRs, separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def resolve(host: str, port: int) -> list[str]:
    """Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _parsed(url: str) -> Target:
    """Strict: what two parsers may read differently is refused."""
    if len(url) > LONGEST_URL:
        raise InvalidRequest(f"must have at most {LONGEST_URL:,} characters")
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise InvalidRequest("must be printable ASCII without spaces and backslashes: write other names as xn--…")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidRequest("must be an absolute URL, such as https://example.org/hook") from None
    if parts.scheme not in _PORTS or not url.lower().startswith(f"{parts.scheme}://") or not parts.hostname:
        raise InvalidRequest("must be an absolute URL, such as https://example.org/hook")
    if "@" in parts.netloc:
        raise InvalidRequest("must not have a user or password")
    if parts.netloc.endswith(":") or port == 0:
        raise InvalidRequest("must have a port from 1 to 65535, or none")
    if "#" in url:
        raise InvalidRequest("must not have a fragment")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, _host(parts.netloc, parts.hostname), port or _PORTS[parts.scheme], path)


def _host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            if "%" not in host:
                return str(IPv6Address(host))
        except ValueError:
            pass
        raise InvalidRequest("must have a valid IPv6 address in its brackets")
    labels = host.split(".")
    if _NUMBER.fullmatch(
        labels[-1]
    ):  # some would read it as an address: https://url.spec.whatwg.org/#ends-in-a-number-checker
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise InvalidRequest("must have an IPv4 address as four decimal numbers") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidRequest("must have a host name of letters, digits and hyphens, without a dot at its end")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
