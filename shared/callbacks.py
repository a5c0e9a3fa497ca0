"""Where answers may be sent: the form of a `callback_url`, and the addresses behind its name.

Both sides look: the api at the URL before it takes the upload, the worker at every address to which
the name leads when it connects, since a name may lead elsewhere by then.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

import httpx

from shared.errors import CallbackRefused
from shared.settings import Settings

_URL_CHARS = 2048
#: below 1024 the web's own; nobody's mail or database
_LOW_PORTS = (80, 443)
#: an IPv4 address in the last four bytes: NAT64, and the form that came before mapped addresses
_CARRIERS = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
#: public by number, internal by use: Azure's host; NAT64 of a network's own; old site-local
_INTERNAL = (
    IPv4Network("168.63.129.16/32"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("fec0::/10"),
)

Address = IPv4Address | IPv6Address


class Reach(NamedTuple):
    """Public addresses by https; `networks` also, though they are private, and by plain http."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def allows(self, address: Address, *, encrypted: bool = True) -> bool:
        meant = _carried(address)
        if any(each in network for network in self.networks for each in (address, meant)):
            return True
        return (
            encrypted
            and meant.is_global
            and not meant.is_multicast
            and not any(meant in network for network in _INTERNAL)
        )


def _carried(address: Address) -> Address:
    """The IPv4 address that is meant, where an IPv6 address only carries one."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in carrier for carrier in _CARRIERS):
        return IPv4Address(address.packed[-4:])
    carried = address.ipv4_mapped or address.sixtofour
    return carried or (address.teredo[1] if address.teredo else address)


def parsed(url: str) -> httpx.URL:
    """As it will be asked for. Raises CallbackRefused."""
    if len(url) > _URL_CHARS or not url.isascii() or not url.isprintable() or set(url) & set(" \\"):
        raise CallbackRefused(
            f"`callback_url` must be a URL in at most {_URL_CHARS} ASCII letters."
        )
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CallbackRefused("`callback_url` is not a URL.") from error
    if not found.host or found.userinfo or found.fragment:
        raise CallbackRefused("`callback_url` needs a host, and no user, password or fragment.")
    port = found.port or 443
    if port not in _LOW_PORTS and not 1024 <= port <= 65535:
        raise CallbackRefused("`callback_url` has a port that is not the web's.")
    return found


def check_callback(url: str, settings: Settings) -> None:
    """By the URL alone; no name is looked up. Raises CallbackRefused."""
    if not settings.webhook_secrets:
        raise CallbackRefused("Callbacks are off here: they need a SCRATCH_WEBHOOK_SECRET.")
    found = parsed(url)
    reach = Reach(settings.webhook_networks)
    encrypted = found.scheme == "https"
    if not encrypted and not (found.scheme == "http" and reach.networks):
        raise CallbackRefused("`callback_url` must begin with https://.")
    address = _literal(found.host)
    if address and not reach.allows(address, encrypted=encrypted):
        raise CallbackRefused("`callback_url` leads to an address that callbacks may not reach.")


def _literal(host: str) -> Address | None:
    """The address that a host plainly is, in any notation that a resolver takes without asking."""
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # such as 0x7f.1
    except (OSError, ValueError):
        return None
