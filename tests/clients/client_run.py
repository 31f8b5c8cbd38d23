"""Runs programs that use real clients, each in the environment that has them, and reads the rows.

Environments are made by `make clients`; without one its tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from intake_build import Bench
from intake_doors import Addresses

from tocsin.store.call_detail import CallDetail

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".clients"
APPS = Path(__file__).parent / "apps"
GUIDE = ROOT / "docs" / "guides" / "send-telemetry.md"
_SNIPPET = re.compile(r"^<!-- client: ([\w-]+) -->\n```(\w+)\n(.*?)^```", re.M | re.S)
_LONGEST_S = 120


def snippets() -> dict[str, tuple[str, str]]:
    """The recipes of the guide: name -> language and text."""
    found = _SNIPPET.findall(GUIDE.read_text("utf-8"))
    return {name: (language, text) for name, language, text in found}


@dataclass
class Tocsin:
    """The server of a module, as its clients' programs and the tests see it."""

    addresses: Addresses
    provider_url: str
    bench: Bench | None = None

    def run(self, environment: str, app: str, service: str, **variables: str) -> Any:
        """Run tests/clients/apps/`app` in an environment; what it printed last, as JSON."""
        return self._run(environment, APPS / app, service, variables)

    def run_snippet(
        self, environment: str, name: str, service: str, tmp: Path, token: str = ""
    ) -> None:
        """Run a recipe of the guide as it is, but for the addresses and the service's name.

        token: given where the recipe has an API key, and in the environment.
        """
        _, text = snippets()[name]
        text = text.replace('api_key="any"', f'api_key="{token or "any"}"')
        ports = {
            "4318": self.addresses.http.rpartition(":")[2],
            "4317": str(self.addresses.grpc),
            "8815": str(self.addresses.flight),
        }
        for usual, own in ports.items():
            text = re.sub(rf"\b{usual}\b", own, text)
        program = tmp / f"recipe_{name.replace('-', '_')}.{'mjs' if environment == 'js' else 'py'}"
        program.write_text(text.replace("support-assistant", service), "utf-8")
        variables = {
            "OTEL_EXPORTER": "otlp_http",  # LiteLLM's own names
            "OTEL_ENDPOINT": self.addresses.http,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask the internet
        }
        if name == "openai-v2":
            variables["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true"
        if token:
            variables["OTEL_EXPORTER_OTLP_HEADERS"] = f"Authorization=Bearer%20{token}"
            variables["PHOENIX_API_KEY"] = token
        self._run(environment, program, service, variables)

    def calls(self, service: str, where: str = "kind = 'llm'") -> list[dict[str, Any]]:
        """The stored calls of a service."""
        return self.query(
            f"SELECT * FROM tocsin.calls WHERE service = '{service}' AND ({where})"
            " ORDER BY ts, span_id"
        )

    def detail(self, call: dict[str, Any]) -> CallDetail:
        """Everything about a stored call."""
        assert self.bench is not None
        found = self.bench.store.call(call["trace_id"], call["span_id"])
        assert found is not None
        return found

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the store, with everything that was accepted."""
        assert self.bench is not None
        return self.bench.query(sql)

    def _run(self, environment: str, program: Path, service: str, extra: dict[str, str]) -> Any:
        variables = {
            "HTTP": self.addresses.http,
            "HTTP_PORT": self.addresses.http.rpartition(":")[2],
            "GRPC_PORT": str(self.addresses.grpc),
            "FLIGHT_PORT": str(self.addresses.flight),
            "SERVICE": service,
            "OTEL_SERVICE_NAME": service,
            "OPENAI_BASE_URL": self.provider_url,
            "OPENAI_API_KEY": "none",
            **extra,
        }
        return run_in(environment, program, variables)


def run_in(environment: str, program: Path, variables: dict[str, str]) -> Any:
    """Run a program in an environment, which is skipped where it was not made; what it printed
    last, as JSON."""
    home = ENVIRONMENTS / environment
    if not (home / ".made").is_file():
        pytest.skip(f"there is no .clients/{environment}; `make clients` makes it")
    if environment == "js":
        # Modules are looked for above the program's own place.
        (home / "run").mkdir(exist_ok=True)
        placed = home / "run" / program.name
        placed.write_bytes(program.read_bytes())
        words = ["node", str(placed)]
    else:
        words = [str(home / "bin" / "python"), str(program)]
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    ran = subprocess.run(
        words, env=kept | variables, capture_output=True, text=True, check=False,
        timeout=_LONGEST_S,
    )  # fmt: skip
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    lines = ran.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1][:1] in "{[" else None
