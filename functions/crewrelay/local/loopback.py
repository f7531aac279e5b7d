"""Whether a name or address is loopback. Another name may belong to a page that uses DNS rebinding."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def leads_here(host: str, also: str = "") -> bool:
    """Whether a `Host` header, with or without a port, is a loopback name or `also`."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in ("localhost", also.lower() or "localhost") or is_loopback(name)


def is_loopback(address: str) -> bool:
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
