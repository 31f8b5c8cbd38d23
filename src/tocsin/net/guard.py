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

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CARRIER = ipaddress.ip_network("100.64.0.0/10")
_METADATA = ipaddress.ip_network("fd00:ec2::/32")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no connection. is_final: asking again will not help."""

    reason: str
    is_final: bool


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


async def pin(url: str, *, allow_private: bool, resolver: Resolve = resolve) -> Pinned | Refused:
    """The address to connect to for `url`, or why not.

    allow_private: the operator vouches for it; nothing is resolved or refused. Otherwise https
    and a host with public addresses only are required.
    """
    if allow_private:
        return Pinned(url)
    return await _pinned(url, ("https",), is_public, resolver)


async def pin_target(
    url: str, *, allow_private: bool, resolver: Resolve = resolve
) -> Pinned | Refused:
    """As `pin`, for what is read regularly: resolved, checked and pinned every time.

    allow_private: http, and addresses of a private network or of this machine, are fine; link-local
    ones, where clouds keep the credentials of machines, never are.
    """
    if allow_private:
        return await _pinned(url, ("http", "https"), is_reachable, resolver)
    return await _pinned(url, ("https",), is_public, resolver)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, however it is written."""
    ip = _read(address)
    if ip is None or (isinstance(ip, ipaddress.IPv4Address) and ip in _CARRIER):
        return False
    return ip.is_global and not ip.is_multicast


def is_reachable(address: str) -> bool:
    """Whether an IP address is of a host, ours or public: not link-local, multicast or reserved.

    Nor one at which a cloud tells a machine its credentials.
    """
    ip = _read(address)
    if ip is None or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA:
        return False
    return ip.is_loopback or not ip.is_reserved


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that text names; the IPv4 one inside where IPv6 is only its envelope."""
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return inner or ip
    return ip


async def _pinned(
    url: str, schemes: Sequence[str], is_allowed: Callable[[str], bool], resolver: Resolve
) -> Pinned | Refused:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return Refused("the address is not a URL", is_final=True)
    if parsed.scheme not in schemes or not parsed.host:
        return Refused(
            "the address must be https (or be allowed with allow_private: true)", is_final=True
        )
    try:
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        addresses = await resolver(parsed.host, port)
    except OSError:
        return Refused("the host name cannot be resolved", is_final=False)
    if not addresses or not all(map(is_allowed, addresses)):
        return Refused(
            "the host is in a private, loopback, link-local or reserved network; "
            "allow it with allow_private: true if it is yours"
            if is_allowed is is_public
            else "the host is link-local, multicast or reserved; that is never allowed",
            is_final=True,
        )
    return Pinned(
        url=str(parsed.copy_with(host=addresses[0])),
        headers={"Host": parsed.netloc.decode()},
        extensions={"sni_hostname": parsed.host},
    )
