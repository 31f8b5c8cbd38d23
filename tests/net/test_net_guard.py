"""A webhook's address cannot be used to reach into our own network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from tocsin.net.guard import Pinned, Refused, is_public, is_reachable, pin, pin_target, resolve


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
    found = ask(url, resolved(*addresses))
    assert isinstance(found, Refused)
    assert found.is_final


def test_a_name_that_does_not_resolve_now_is_tried_again() -> None:
    async def fails(host: str, port: int) -> Sequence[str]:
        raise OSError("name server is down")

    found = ask("https://hooks.example.org/", fails)
    assert isinstance(found, Refused)
    assert not found.is_final


def test_an_operator_may_vouch_for_an_address() -> None:
    assert ask("http://10.0.0.1/x", resolved(), allow_private=True) == Pinned("http://10.0.0.1/x")


def test_real_names_are_resolved() -> None:
    assert "127.0.0.1" in asyncio.run(resolve("localhost", 443)) or "::1" in asyncio.run(
        resolve("localhost", 443)
    )


def ask_target(url: str, resolver: object, *, allow_private: bool) -> object:
    return asyncio.run(pin_target(url, allow_private=allow_private, resolver=resolver))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fc00::1", "1.1.1.1"])
def test_a_target_may_be_of_our_own_where_that_is_said(address: str) -> None:
    target = ask_target("http://vllm:8000/metrics", resolved(address), allow_private=True)
    assert isinstance(target, Pinned)
    assert target.headers == {"Host": "vllm:8000"}
    assert httpx.URL(target.url).host == address
    refused = ask_target("https://vllm:8000/metrics", resolved("10.0.0.1"), allow_private=False)
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "nonsense"],
)  # fmt: skip
def test_where_clouds_keep_credentials_is_never_a_target(address: str) -> None:
    assert not is_reachable(address)
    found = ask_target("http://metadata/", resolved("10.0.0.1", address), allow_private=True)
    assert isinstance(found, Refused)
