"""What a webhook is: an address at which another system tells us something, and how it proves it.

A webhook is a class and its frozen configuration in one file under `webhooks/`. It says whether a
request is authentic, before anything is kept, and what it tells, after it was kept. Between the two
lies the inbox: nothing that was accepted is lost because it could not be understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from tocsin.domain.secret import Secret, secret
from tocsin.intake.alerts.incoming import Told
from tocsin.net.proof import check_bearer, keys


@runtime_checkable
class Webhook(Protocol):
    """One configured sender.

    Config: the frozen dataclass it is built from.
    """

    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None: ...

    @property
    def is_open(self) -> bool:
        """Whether it is configured to take requests that nothing proves."""
        ...

    @property
    def proves(self) -> bool:
        """Whether its requests prove themselves. If not, and it is not open, the caller must have
        been let in by other means: the access token, or a server on loopback."""
        ...

    async def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The sender's id of an authentic request, "" when it has none.

        headers: by lower-case name. Raises NotAuthentic; IntakeError when it cannot be told now, so
        that the sender comes again.
        """
        ...

    def read(self, body: Any, now: datetime) -> Told:
        """What an authentic request tells. body: its JSON. Raises IntakeError."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """token: what the sender puts into `Authorization: Bearer`. previous_token: the one before,
    while it is being replaced. unsigned: take requests that nothing proves, from anybody who can
    reach the address."""

    token: Secret | None = None
    previous_token: Secret | None = None
    unsigned: bool = False

    def __post_init__(self) -> None:
        own(self, "token")
        if self.unsigned and self.token is not None:
            raise ValueError("unsigned: leave it out, a token is given")

    @property
    def tokens(self) -> tuple[Secret, ...]:
        """Those that are valid now."""
        return keys(self.token, self.previous_token)


@dataclass(frozen=True, slots=True)
class SignedConfig(TokenConfig):
    """As TokenConfig. secret: signs requests; previous_secret: the one before. With a secret
    nothing but its signature counts."""

    secret: Secret | None = None
    previous_secret: Secret | None = None

    def __post_init__(self) -> None:
        own(self, "token")
        own(self, "secret")
        if self.token is not None and self.secret is not None:
            raise ValueError("token, secret: set one of them")
        if self.unsigned and (self.token is not None or self.secret is not None):
            raise ValueError("unsigned: leave it out, a token or secret is given")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Those that are valid now."""
        return keys(self.secret, self.previous_secret)


def own(config: Any, name: str) -> None:
    """Make `name` and `previous_name` of a configuration secrets. ValueError for the latter alone:
    a value that is being replaced is replaced by something."""
    for each in (name, f"previous_{name}"):
        if (value := getattr(config, each)) is not None:
            object.__setattr__(config, each, secret(value))
    if getattr(config, name) is None and getattr(config, f"previous_{name}") is not None:
        raise ValueError(f"previous_{name}: set {name} as well")


class Tokened:
    """What webhooks share whose requests carry a token. Subclasses read."""

    def __init__(self, config: TokenConfig) -> None:
        self._config = config

    @property
    def is_open(self) -> bool:
        """As configured."""
        return self._config.unsigned

    @property
    def proves(self) -> bool:
        """With a token."""
        return bool(self._config.tokens)

    async def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The token, where there is one."""
        del body, now
        if self._config.tokens:
            check_bearer(self._config.tokens, headers)
        return ""

    async def close(self) -> None:
        """Nothing is open."""


class Signed:
    """What webhooks share whose requests carry a signature, or else a token.

    Subclasses read, and say in `check_signature` what their sender signs.
    """

    # Whether the sender writes the token into the header as it is, without a word of its own.
    sends_verbatim: ClassVar[bool] = False

    def __init__(self, config: SignedConfig) -> None:
        self._config = config

    @property
    def is_open(self) -> bool:
        """As configured."""
        return self._config.unsigned

    @property
    def proves(self) -> bool:
        """With a secret or a token."""
        return bool(self._config.secrets or self._config.tokens)

    async def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The signature; the token where there is no secret."""
        if self._config.secrets:
            return self.check_signature(headers, body, now)
        if self._config.tokens:
            check_bearer(self._config.tokens, headers, is_verbatim=self.sends_verbatim)
        return self.delivery(headers)

    def check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The id of the request. Raises NotAuthentic."""
        raise NotImplementedError

    def delivery(self, headers: Mapping[str, str]) -> str:
        """The id that the sender gives to a request and to every repetition of it."""
        del headers
        return ""

    async def close(self) -> None:
        """Nothing is open."""
