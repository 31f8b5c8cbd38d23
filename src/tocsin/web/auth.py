"""Who may use the web: a policy per bind address, tokens, browser sessions and form tokens.

On loopback nobody logs in: whoever can reach the port can read the data directory too. What a
loopback server must fear is a browser tricked into talking to it, hence the host check (DNS
rebinding), the origin check and the form tokens, which hold with and without login. On any other
address a bearer token is required; browsers exchange it for a signed cookie.

Tokens are compared as SHA-256 digests in constant time. They are long random strings, not
passwords, so a slow hash would only slow down every request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from tocsin.domain.errors import TocsinError

SESSION_COOKIE = "tocsin_session"
FORM_COOKIE = "tocsin_form"
SESSION_LIFE = timedelta(hours=12)
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
SHORTEST_TOKEN = 16


class AuthError(TocsinError):
    """A policy that would leave the server open; the text says what to set."""


def hash_token(token: str) -> str:
    """SHA-256 of a token, as lower-case hex: the only form in which one is kept.

    AuthError when the token is shorter than 16 characters.
    """
    if len(token) < SHORTEST_TOKEN:
        raise AuthError(
            f"the access token has {len(token)} characters; use at least {SHORTEST_TOKEN}, "
            "for example: openssl rand -hex 24"
        )
    return hashlib.sha256(token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """How requests are let in.

    token_hash: None means no login. allowed_hosts: names the Host header may carry, None for any.
    signing_key: signs cookies and form tokens; the same on all replicas. open_paths: prefixes that
    check their own callers, such as signed webhooks. public_url: the address people use.
    """

    token_hash: str | None = None
    allowed_hosts: frozenset[str] | None = LOOPBACK_HOSTS
    signing_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    open_paths: tuple[str, ...] = ()
    public_url: str = ""

    @classmethod
    def for_bind(
        cls,
        host: str,
        *,
        token_hash: str | None = None,
        public_url: str = "",
        open_paths: tuple[str, ...] = (),
        signing_key: bytes | None = None,
    ) -> AuthPolicy:
        """The policy for a bind address. AuthError when it is not loopback and has no token."""
        local = is_loopback(host)
        if not local and token_hash is None:
            raise AuthError(
                f"refusing to listen on {host} without authentication: set TOCSIN_TOKEN, "
                "or bind to 127.0.0.1"
            )
        names = LOOPBACK_HOSTS
        if public_url:
            names = names | {(urlsplit(public_url).hostname or "").lower()}
        if local:
            names = names | {f"[{host}]" if ":" in host else host}
        return cls(
            token_hash=token_hash,
            allowed_hosts=names if local else None,
            signing_key=signing_key or secrets.token_bytes(32),
            open_paths=open_paths,
            public_url=public_url,
        )

    @property
    def needs_login(self) -> bool:
        """Whether a token is asked for."""
        return self.token_hash is not None

    def accepts(self, token: str) -> bool:
        """Whether `token` is the access token."""
        given = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        return self.token_hash is not None and hmac.compare_digest(given, self.token_hash)

    def allows_host(self, header: str) -> bool:
        """Whether the Host header names this server; the port does not matter."""
        if self.allowed_hosts is None:
            return True
        name = header.rpartition("]")[0] + "]" if header.startswith("[") else header.split(":")[0]
        return name.lower() in self.allowed_hosts

    def is_open(self, path: str) -> bool:
        """Whether a path needs no login."""
        return path in ("/healthz", "/readyz", "/login", "/theme") or path.startswith(
            ("/static/", *self.open_paths)
        )


def new_session(policy: AuthPolicy, now: datetime) -> str:
    """A cookie value that is valid until `now` + SESSION_LIFE, on this signing key and token."""
    expires = int((now + SESSION_LIFE).timestamp())
    body = f"{expires}.{secrets.token_urlsafe(12)}"
    return f"{body}.{_sign(policy, 'session', policy.token_hash or '', body)}"


def is_session(policy: AuthPolicy, value: str, now: datetime) -> bool:
    """Whether a cookie value was made by `new_session` and has not expired."""
    body, _, signature = value.rpartition(".")
    expected = _sign(policy, "session", policy.token_hash or "", body)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return False
    expires = body.partition(".")[0]
    return expires.isdigit() and int(expires) > now.timestamp()


def new_form_id() -> str:
    """A random name for one browser, kept in FORM_COOKIE."""
    return secrets.token_urlsafe(18)


def form_token(policy: AuthPolicy, form_id: str) -> str:
    """A token for a form of this browser; every call gives another one (no BREACH oracle)."""
    nonce = secrets.token_urlsafe(9)
    return f"{nonce}.{_sign(policy, 'form', form_id, nonce)}"


def is_form_token(policy: AuthPolicy, form_id: str, token: str) -> bool:
    """Whether `token` was made by `form_token` for this browser."""
    nonce, _, signature = token.partition(".")
    expected = _sign(policy, "form", form_id, nonce)
    return bool(form_id) and hmac.compare_digest(signature.encode(), expected.encode())


def _sign(policy: AuthPolicy, *parts: str) -> str:
    digest = hmac.new(policy.signing_key, digestmod=hashlib.sha256)
    for part in parts:
        raw = part.encode("utf-8", "replace")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")


class LoginThrottle:
    """At most `most` failed logins per address in `within`; remembers a bounded set of addresses.

    Not a defence for weak tokens, which `hash_token` refuses, but it keeps guessing out of the log.
    """

    def __init__(
        self, *, most: int = 8, within: timedelta = timedelta(minutes=1), remember: int = 4096
    ) -> None:
        self._most = most
        self._within = within
        self._remember = remember
        self._failures: OrderedDict[str, list[datetime]] = OrderedDict()

    def wait_s(self, address: str, now: datetime) -> int:
        """Seconds until this address may try again, 0 for now."""
        recent = self._recent(address, now)
        if len(recent) < self._most:
            return 0
        return max(int((recent[0] + self._within - now).total_seconds()) + 1, 1)

    def failed(self, address: str, now: datetime) -> None:
        """Count one failure."""
        self._failures[address] = [*self._recent(address, now), now][-self._most :]
        self._failures.move_to_end(address)
        while len(self._failures) > self._remember:
            self._failures.popitem(last=False)

    def _recent(self, address: str, now: datetime) -> list[datetime]:
        return [at for at in self._failures.get(address, []) if at > now - self._within]
