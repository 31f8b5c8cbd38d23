"""Settings: read once from the environment and the command line into one frozen object.

Everything a person decides about *what Tocsin does* is a document in Git (`tocsin.spec`). Settings
only say where this process lives: directories, addresses, limits. Nothing else reads the
environment, which the linter enforces.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from tocsin.domain.errors import TocsinError

Secrets = Callable[[str], str | None]

GRPC_PORT, FLIGHT_PORT = 4317, 8815  # what clients of OTLP/gRPC and of Arrow Flight expect
STATE_FILE = "state.db"  # in the data directory, unless the state lives in PostgreSQL


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how this process runs.

    interval: time between two evaluations. lateness: how long a minute stays open for calls that
    arrive late before it is judged for the first time. reread_minutes: how many judged minutes
    are read again at each evaluation. memory_bytes: what the embedded engine may use.
    grpc_port, flight_port: None is the usual port if it is free, 0 is none. clickhouse: URL of a
    server; "" is the embedded engine. store_port: where the embedded engine is served to other
    processes; 0 is nowhere. deadman_url: what is asked every minute while all is well; a secret.
    ledger_key: what checkpoints of the ledger are signed with; "" signs none.
    lease: how soon another process takes over from one that conducts and died. embedding_model:
    the folder of a model that embeds texts, for drift.
    """

    data_dir: Path
    config_dir: Path | None = None
    state_url: str = ""
    host: str = "127.0.0.1"
    port: int = 4318
    grpc_port: int | None = None
    flight_port: int | None = None
    token: str | None = None
    url: str = ""
    public_url: str = ""
    secrets_dir: Path | None = None
    secrets_command: str | None = None
    memory_bytes: int = 2_000_000_000
    interval: timedelta = timedelta(minutes=1)
    lateness: timedelta = timedelta(seconds=2)
    reread_minutes: int = 3
    clickhouse: str = field(default="", repr=False)
    clickhouse_password: str = field(default="", repr=False)
    clickhouse_cluster: str = ""
    store_host: str = "127.0.0.1"
    store_port: int = 0
    store_token: str = field(default="", repr=False)
    store_read_token: str = field(default="", repr=False)
    deadman_url: str = field(default="", repr=False)
    ledger_key: str = field(default="", repr=False)
    lease: timedelta = timedelta(seconds=15)
    embedding_model: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def base_url(self) -> str:
        """The address that links in messages point at."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{host}:{self.port}"


class SettingsError(TocsinError):
    """A setting that cannot be used; the text names it and the fix."""


def from_environment(
    environment: Mapping[str, str] | None = None,
    *,
    data_dir: Path | None = None,
    config_dir: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    url: str | None = None,
) -> Settings:
    """Settings from `TOCSIN_*` variables; arguments (the command line) win over them.

    Raises SettingsError for a value that is not of its kind.
    """
    env = os.environ if environment is None else environment
    defaults = Settings(data_dir=Path("tocsin-data"))
    secrets_dir = env.get("TOCSIN_SECRETS_DIR")
    configured = config_dir or (Path(env["TOCSIN_CONFIG"]) if "TOCSIN_CONFIG" in env else None)
    return Settings(
        data_dir=data_dir or Path(env.get("TOCSIN_DATA", str(defaults.data_dir))),
        config_dir=configured,
        state_url=env.get("TOCSIN_STATE", ""),
        host=host or env.get("TOCSIN_HOST", defaults.host),
        port=_port(env, port, defaults.port),
        grpc_port=_own_port(env, "TOCSIN_GRPC_PORT"),
        flight_port=_own_port(env, "TOCSIN_FLIGHT_PORT"),
        token=env.get("TOCSIN_TOKEN") or None,
        url=(url or env.get("TOCSIN_URL", "")).rstrip("/"),
        public_url=env.get("TOCSIN_PUBLIC_URL", ""),
        secrets_dir=Path(secrets_dir) if secrets_dir else None,
        secrets_command=env.get("TOCSIN_SECRETS_COMMAND") or None,
        memory_bytes=_integer(env, "TOCSIN_MEMORY_BYTES", defaults.memory_bytes),
        lateness=timedelta(
            seconds=_integer(
                env, "TOCSIN_LATENESS_S", int(defaults.lateness.total_seconds()), most=3600
            )
        ),
        embedding_model=Path(model) if (model := env.get("TOCSIN_EMBEDDING_MODEL")) else None,
        clickhouse=env.get("TOCSIN_CLICKHOUSE", ""),
        clickhouse_password=env.get("TOCSIN_CLICKHOUSE_PASSWORD", ""),
        clickhouse_cluster=env.get("TOCSIN_CLICKHOUSE_CLUSTER", ""),
        store_host=env.get("TOCSIN_STORE_HOST", defaults.store_host),
        store_port=_integer(env, "TOCSIN_STORE_PORT", defaults.store_port, most=65_535),
        store_token=env.get("TOCSIN_STORE_TOKEN", ""),
        store_read_token=env.get("TOCSIN_STORE_READ_TOKEN", ""),
        deadman_url=env.get("TOCSIN_DEADMAN_URL", ""),
        ledger_key=env.get("TOCSIN_LEDGER_KEY", ""),
        lease=timedelta(
            seconds=_integer(
                env, "TOCSIN_LEASE_S", int(defaults.lease.total_seconds()), least=1, most=600
            )
        ),
    )


def with_secrets(
    settings: Settings, resolve: Secrets, *, is_served: bool = False, signs: bool = False
) -> Settings:
    """Settings whose passwords may also lie where every secret may: in a file, or a vault.

    Only those that are used are asked for. is_served: the store is, whatever its port says. signs:
    this process signs checkpoints, if it is given a key.
    """

    def found(known: str, name: str, *, is_used: bool) -> str:
        return known or (resolve(name) if is_used else "") or ""

    is_served = is_served or bool(settings.store_port)
    return replace(
        settings,
        clickhouse_password=found(
            settings.clickhouse_password,
            "TOCSIN_CLICKHOUSE_PASSWORD",
            is_used=bool(settings.clickhouse),
        ),
        store_token=found(settings.store_token, "TOCSIN_STORE_TOKEN", is_used=is_served),
        store_read_token=found(
            settings.store_read_token, "TOCSIN_STORE_READ_TOKEN", is_used=is_served
        ),
        ledger_key=found(settings.ledger_key, "TOCSIN_LEDGER_KEY", is_used=signs),
    )


def secrets(settings: Settings, environment: Mapping[str, str] | None = None) -> Secrets:
    """How a `{secret: NAME}` reference is resolved: environment, then a file, then a command.

    The command (TOCSIN_SECRETS_COMMAND) is run without a shell with NAME as its last argument and
    must print the secret; a non-zero exit means there is none.
    """
    env = os.environ if environment is None else environment

    def resolve(name: str) -> str | None:
        if name in env:
            return env[name]
        if settings.secrets_dir is not None:
            path = settings.secrets_dir / name
            if path.parent == settings.secrets_dir and path.is_file():
                return path.read_text().rstrip("\n")
        if settings.secrets_command is not None:
            try:
                found = subprocess.run(  # noqa: S603 (the operator's own command, no shell)
                    [*settings.secrets_command.split(), name],
                    capture_output=True,
                    text=True,
                    timeout=10,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise SettingsError(
                    f"TOCSIN_SECRETS_COMMAND cannot be run for {name}: {type(error).__name__}; "
                    "it must print the secret within 10 s"
                ) from None
            if found.returncode == 0 and found.stdout:
                return found.stdout.rstrip("\n")
        return None

    return resolve


def _port(env: Mapping[str, str], given: int | None, default: int) -> int:
    if given is None:
        return _integer(env, "TOCSIN_PORT", default, most=65_535)
    if not 0 <= given <= 65_535:
        raise SettingsError(f"--port {given} is not a port; use 1 to 65535, or 0 for any free one")
    return given


def _own_port(env: Mapping[str, str], name: str) -> int | None:
    return _integer(env, name, 0, most=65_535) if env.get(name) else None


def _integer(
    env: Mapping[str, str], name: str, default: int, most: int = 1 << 60, least: int = 0
) -> int:
    text = env.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a whole number") from None
    if value < 0:
        raise SettingsError(f"{name}={text!r} must not be negative")
    if value < least:
        raise SettingsError(f"{name}={text!r} must be at least {least}")
    if value > most:
        raise SettingsError(f"{name}={text!r} must be at most {most}")
    return value
