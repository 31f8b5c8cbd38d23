"""Where ClickHouse is: `chdb:///directory` inside this process, or `http(s)://user:pass@host:port`.

A password is kept out of everything that is shown: `str` and `repr` of an address are safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tocsin.domain.errors import StoreError

_PORTS = {"http": 8123, "https": 8443}
# What may stand behind the `?`: how TLS is checked and how long is waited.
_EXTRAS = ("ca_cert", "verify", "client_cert", "client_cert_key", "server_host_name",
           "connect_timeout", "send_receive_timeout")  # fmt: skip
_EXAMPLE = "http://user:password@host:8123"


@dataclass(frozen=True, slots=True)
class Address:
    """One ClickHouse. place: the address without user and password, fit to be shown."""

    place: str
    path: str = ""
    scheme: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    extras: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, dsn: str, password: str = "") -> Address:
        """Read a DSN; `password` counts when it has none. StoreError says what is wrong with it."""
        if dsn.startswith("chdb:"):
            return cls(dsn, path=dsn.removeprefix("chdb://"))
        parts = urlsplit(dsn)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise StoreError(
                f"the address of ClickHouse is to look like {_EXAMPLE}; the one given"
                f" {'has no host' if parts.scheme in _PORTS else 'is neither http nor https'}"
            )
        try:
            port = parts.port or _PORTS[parts.scheme]
        except ValueError:
            raise StoreError(
                f"the port in the address of ClickHouse is not a number from 1 to 65535; it is to"
                f" look like {_EXAMPLE}"
            ) from None
        extras = dict(parse_qsl(parts.query))
        if unknown := sorted(set(extras) - set(_EXTRAS)):
            raise StoreError(
                f"the address of ClickHouse has the unknown option {unknown[0]!r}; there are"
                f" {', '.join(_EXTRAS)}"
            )
        if parts.path not in {"", "/"}:
            raise StoreError(
                f"the address of ClickHouse names a database or path ({parts.path}); Tocsin always"
                f" uses the database `tocsin`: leave it out"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            place=f"{parts.scheme}://{host}:{port}",
            scheme=parts.scheme,
            host=parts.hostname,
            port=port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or "") or password,
            extras=extras,
        )

    def __str__(self) -> str:
        return self.place

    @property
    def is_embedded(self) -> bool:
        """Whether the engine runs inside this process."""
        return bool(self.path)

    def arguments(self) -> dict[str, Any]:
        """What `clickhouse_connect.get_client` is called with."""
        if self.is_embedded:
            return {"dsn": f"chdb://{self.path}"}
        return {
            "interface": self.scheme,
            "host": self.host,
            "port": self.port,
            "username": self.user or "default",
            "password": self.password,
            "autogenerate_session_id": False,
            "connect_timeout": 10,
            "query_retries": 0,
            **self.extras,
        }
