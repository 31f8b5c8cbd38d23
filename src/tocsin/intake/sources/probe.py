"""`probe`: whether a dependency of your own answers: a vector database, a gateway.

One request per target and interval: an HTTP GET that must come back with a status below 400 (or the
one that is expected), or a TCP connection. One failure says little, so that it is told as degraded;
`failures` in a row are an outage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import httpx

from tocsin.domain.dependencies import DependencyState as State
from tocsin.domain.secret import Secret, secret
from tocsin.intake.asking import Asker
from tocsin.intake.source import Origin, Polled, Reported, Unreadable
from tocsin.net.guard import Refused, pin_target

BY = "probe"
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """dependency: what services call it in `dependsOn`. targets: `https://host/healthz`, or
    `tcp://host:6333`. expect: the only good status; else every one below 400. failures: how many in
    a row are an outage. token: sent as a bearer token. allow_private: targets may lie in your own
    network and be plain http; link-local addresses are refused even then."""

    dependency: str
    targets: tuple[str, ...]
    expect: int | None = None
    failures: int = 2
    timeout: timedelta = timedelta(seconds=5)
    token: Secret | None = None
    allow_private: bool = False

    def __post_init__(self) -> None:
        if not self.dependency:
            raise ValueError("dependency: name what is probed")
        if not self.targets:
            raise ValueError("targets: name at least one address")
        for target in self.targets:
            _check(target)
        if self.failures < 1 or self.timeout <= timedelta(0):
            raise ValueError("failures and timeout must be above 0")
        if self.token is not None:
            object.__setattr__(self, "token", secret(self.token))


class Probe:
    """Asks each target on its own."""

    Config: ClassVar[type[ProbeConfig]] = ProbeConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(seconds=30)
    needs_service: ClassVar[bool] = False

    def __init__(self, config: ProbeConfig, origin: Origin) -> None:
        del origin
        self.config = config
        self._asker = Asker(
            allow_private=config.allow_private, timeout=config.timeout, most_bytes=_MOST_BYTES
        )

    @property
    def targets(self) -> Sequence[str]:
        """The addresses."""
        return self.config.targets

    async def poll(self, target: str, now: datetime, cursor: Any) -> Polled:
        """One try. cursor: {"failures": how many there were in a row, "since": the first}."""
        wrong, took = await self._try(target)
        if not wrong:
            said = f"{target} answered in {1000 * took:.0f} ms"
            report = Reported(self.config.dependency, BY, State.OPERATIONAL, said)
            return Polled(reports=[report], cursor={"failures": 0})
        failed = cursor.get("failures", 0) if isinstance(cursor, Mapping) else 0
        failed += 1
        state = State.OUTAGE if failed >= self.config.failures else State.DEGRADED
        times = "" if failed == 1 else f", {failed} times in a row"
        report = Reported(self.config.dependency, BY, state, f"{target}: {wrong}{times}")
        return Polled(reports=[report], cursor={"failures": failed})

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """No metrics."""
        del target, now
        return ()

    def lost(self, target: str, reason: str) -> Sequence[Reported]:
        """It could not even be tried."""
        return [Reported(self.config.dependency, BY, State.UNKNOWN, f"{target}: {reason}")]

    async def close(self) -> None:
        """Close the connections."""
        await self._asker.close()

    async def _try(self, target: str) -> tuple[str, float]:
        """What is wrong, "" for nothing, and how long it took in seconds.

        Raises Unreadable when it may not be tried at all: that says nothing about the target.
        """
        url = httpx.URL(target)
        as_http = target
        if url.scheme == "tcp":
            as_http = str(url.copy_with(scheme="http" if self.config.allow_private else "https"))
        pinned = await pin_target(as_http, allow_private=self.config.allow_private)
        if isinstance(pinned, Refused):
            if pinned.is_final:
                raise Unreadable(pinned.reason)
            return pinned.reason, 0.0
        begun = time.perf_counter()
        try:
            if url.scheme == "tcp":
                wrong = await self._connect(httpx.URL(pinned.url).host, url.port or 0)
            else:
                wrong = self._judged((await self._asker.get(target, self._headers())).status)
        except Unreadable as error:
            wrong = str(error)
        return wrong, time.perf_counter() - begun

    def _headers(self) -> Mapping[str, str]:
        token = self.config.token
        return {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}

    def _judged(self, status: int) -> str:
        expected = self.config.expect
        is_good = status < 400 if expected is None else status == expected
        return "" if is_good else f"HTTP {status}"

    async def _connect(self, host: str, port: int) -> str:
        seconds = self.config.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return f"no connection within {seconds:g} s"
        except OSError as error:
            return f"no connection ({error.strerror or type(error).__name__})"
        writer.close()
        return ""


def _check(target: str) -> None:
    try:
        url = httpx.URL(target)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https", "tcp") or not url.host:
        raise ValueError(f"targets: {target!r} is no address such as https://host/healthz")
    if url.scheme == "tcp" and url.port is None:
        raise ValueError(f"targets: {target!r} has no port, such as tcp://host:6333")
    if url.userinfo:
        raise ValueError("targets: write credentials as token, not in the address")
