"""What a failure of ClickHouse means, and in which words an operator is told."""

from __future__ import annotations

import importlib

from tocsin.domain.errors import StoreError
from tocsin.store.address import Address

# Codes of ClickHouse that tell of the machine or the moment, not of the data that was read.
_TRANSIENT = frozenset({
    74, 75, 76, 107,  # a file cannot be read, written, opened; is not there
    159, 160, 209, 210, 279,  # too slow, network
    173, 241, 243,  # no memory, no disk
    202, 236, 242, 252, 290, 319,  # too many queries or parts, cancelled, read-only, uncertain
    225, 341, 394, 439, 425, 999, 1000,  # Keeper, replicas, threads, system
    49, 101, 1001, 1002,  # a bug or an exception of the engine itself
    60, 81, 192, 193, 194, 497, 516,  # no table, database, user, right: mended by an operator
})  # fmt: skip
_NO_USER = frozenset({192, 193, 194, 516})
_NO_RIGHT = 497


class EngineError(StoreError):
    """ClickHouse refused a statement. `code` is its error code, 0 when it gave none."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)

    @property
    def blames_data(self) -> bool:
        """Whether trying the same again cannot help: what was read does not fit its schema."""
        return self.code not in _TRANSIENT and self.code > 0


def is_engine_failure(error: Exception) -> bool:
    """Whether a library raised it because of the engine or the way there."""
    module = importlib.import_module("clickhouse_connect.driver.exceptions")
    return isinstance(error, (module.Error, RuntimeError, OSError))


def refused(sql: str, error: Exception, address: Address) -> EngineError:
    """The error of a statement, with its beginning, without secrets."""
    code = int(getattr(error, "code", None) or 0)
    start = " ".join(sql.split())[:120]
    return EngineError(f"ClickHouse refused `{start}`: {_clean(error, address)[:600]}", code)


def cannot_open(address: Address, error: Exception) -> StoreError:
    """Why a ClickHouse cannot be used, and what to do about it."""
    text = _clean(error, address)
    if address.is_embedded:
        return StoreError(
            f"cannot open ClickHouse at {address}: {text}. If another Tocsin process uses"
            " this data directory, stop it or choose another --data-dir."
        )
    code = int(getattr(error, "code", None) or 0)
    user = address.user or "default"
    if code in _NO_USER:
        return StoreError(
            f"ClickHouse at {address} does not let user {user!r} in: wrong name or password. Give"
            " them in TOCSIN_CLICKHOUSE, or the password as the secret TOCSIN_CLICKHOUSE_PASSWORD."
        )
    if code == _NO_RIGHT:
        return StoreError(
            f"ClickHouse at {address} gives user {user!r} too few rights: {text[:300]}. Tocsin"
            " needs `GRANT ALL ON tocsin.*`, CLUSTER, and SELECT ON system.*"
        )
    if code:
        return StoreError(f"ClickHouse at {address} cannot be used: {text[:400]}")
    return StoreError(
        f"ClickHouse at {address} cannot be reached: {text[:300]}. Is it running, is this its HTTP"
        " port (8123, or 8443 with TLS), and may this machine connect to it?"
    )


def _clean(error: Exception, address: Address) -> str:
    text = str(error)
    return text.replace(address.password, "***") if address.password else text
