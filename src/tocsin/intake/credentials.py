"""Where the senders that Tocsin knows put their access token, in headers or in gRPC metadata.

authorization: Bearer <token>      OpenTelemetry as configured, Phoenix, Arize's REST client
authorization: <token>             Arize's SDK and arize-otel
api_key: <token>                   arize-otel
auth-token-bin: <token>            Arize's SDK over Arrow Flight
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tocsin.domain.errors import IntakeError

Admit = Callable[[Mapping[str, str]], None]
_BARE = ("authorization", "api_key", "auth-token-bin")


def offered_tokens(headers: Mapping[str, str]) -> Iterator[str]:
    """Every text in `headers` (names in lower case) that may be an access token."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    for name in _BARE:
        if value := headers.get(name, "").strip():
            yield value


def admission(accepts: Callable[[str], bool] | None) -> Admit:
    """What lets a caller in by its headers, and raises IntakeError 401 when it may not come in.

    accepts: whether a text is the access token; None when everybody who can connect may come in.
    """

    def admit(headers: Mapping[str, str]) -> None:
        if accepts is not None and not any(accepts(token) for token in offered_tokens(headers)):
            raise IntakeError(401, "send the access token as `authorization: Bearer …`")

    return admit
