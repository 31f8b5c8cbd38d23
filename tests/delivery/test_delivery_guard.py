"""A webhook's address cannot be used to reach into our own network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from tocsin.delivery.guard import Pinned, is_public, pin
from tocsin.delivery.outcome import Rejected, Retry


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2001:db8::1", "not an address", "",
    ],
)  # fmt: skip
def test_addresses_of_our_own_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:2800:220:1::1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


def resolved(*addresses: str) -> object:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def ask(url: str, resolver: object, *, allow_private: bool = False) -> object:
    return asyncio.run(pin(url, allow_private=allow_private, resolver=resolver))  # type: ignore[arg-type]


def test_the_connection_goes_to_the_checked_address_under_the_host_name() -> None:
    found = ask("https://hooks.example.org:8443/a?b=c", resolved("93.184.216.34", "1.1.1.1"))
    assert found == Pinned(
        url="https://93.184.216.34:8443/a?b=c",
        headers={"Host": "hooks.example.org:8443"},
        extensions={"sni_hostname": "hooks.example.org"},
    )


def test_a_pinned_request_carries_host_and_name_for_tls() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    async def story() -> None:
        target = await pin(
            "https://hooks.example.org/a",
            allow_private=False,
            resolver=resolved("93.184.216.34"),  # type: ignore[arg-type]
        )
        assert isinstance(target, Pinned)
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            await http.post(target.url, headers=target.headers, extensions=target.extensions)

    asyncio.run(story())
    assert seen[0].url.host == "93.184.216.34"
    assert seen[0].headers["host"] == "hooks.example.org"
    assert seen[0].extensions["sni_hostname"] == "hooks.example.org"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://rebind.example.org/", ("1.1.1.1", "127.0.0.1")),
        ("https://metadata.example.org/", ("169.254.169.254",)),
        ("https://nowhere.example.org/", ()),
        ("http://hooks.example.org/", ("1.1.1.1",)),
        ("ftp://hooks.example.org/", ("1.1.1.1",)),
        ("no url at all", ("1.1.1.1",)),
        ("https:///path", ("1.1.1.1",)),
    ],
)
def test_what_is_not_public_https_is_rejected(url: str, addresses: tuple[str, ...]) -> None:
    assert isinstance(ask(url, resolved(*addresses)), Rejected)


def test_a_name_that_does_not_resolve_now_is_tried_again() -> None:
    async def fails(host: str, port: int) -> Sequence[str]:
        raise OSError("name server is down")

    assert isinstance(ask("https://hooks.example.org/", fails), Retry)


def test_an_operator_may_vouch_for_an_address() -> None:
    assert ask("http://10.0.0.1/x", resolved(), allow_private=True) == Pinned("http://10.0.0.1/x")


def test_real_names_are_resolved() -> None:
    from tocsin.delivery.guard import resolve

    assert "127.0.0.1" in asyncio.run(resolve("localhost", 443)) or "::1" in asyncio.run(
        resolve("localhost", 443)
    )
