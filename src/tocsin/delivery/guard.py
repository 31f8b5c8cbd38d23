"""Keeps requests to addresses that a user may name away from our own network (SSRF).

The name is resolved once, every address it has is checked, and the connection goes to the checked
address with the name kept in `Host` and in TLS, so that a second answer of the name server cannot
lead anywhere else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tocsin.delivery.outcome import Rejected, Retry

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CARRIER = ipaddress.ip_network("100.64.0.0/10")


@dataclass(frozen=True, slots=True)
class Pinned:
    """Where to connect: `url` names the checked address, headers and extensions the host."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host. Raises OSError when it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


async def pin(
    url: str, *, allow_private: bool, resolver: Resolve = resolve
) -> Pinned | Retry | Rejected:
    """The address to connect to for `url`, or why not.

    allow_private: the operator vouches for it; nothing is resolved or refused. Otherwise https
    and a host with public addresses only are required.
    """
    if allow_private:
        return Pinned(url)
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return Rejected("the address is not a URL")
    if parsed.scheme != "https" or not parsed.host:
        return Rejected("the address must be https (or be allowed with allow_private: true)")
    try:
        addresses = await resolver(parsed.host, parsed.port or 443)
    except OSError:
        return Retry("the host name cannot be resolved")
    refused = [address for address in addresses if not is_public(address)]
    if refused or not addresses:
        return Rejected(
            "the host is in a private, loopback, link-local or reserved network; "
            "allow it with allow_private: true if it is yours"
        )
    return Pinned(
        url=str(parsed.copy_with(host=addresses[0])),
        headers={"Host": parsed.netloc.decode()},
        extensions={"sni_hostname": parsed.host},
    )


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, however it is written."""
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    if isinstance(ip, ipaddress.IPv4Address) and ip in _CARRIER:
        return False
    return ip.is_global and not ip.is_multicast
