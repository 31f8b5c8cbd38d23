"""Write the reference pages that follow from the code: `make docs`.

    docs/reference/cli.md                       from the command line's own definitions
    docs/reference/settings.md                  from `tocsin.engine.settings`
    docs/reference/configuration.md             from the shapes that validate documents
    docs/reference/configuration.schema.json    the same for editors
    docs/reference/api.md                       from the API's own OpenAPI document

`tests/docs` fails when a page is not what this script would write.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer.main
from starlette.routing import Mount

from tocsin import cli
from tocsin.assess.detectors import DETECTORS
from tocsin.cli.terminal import Output
from tocsin.engine import settings
from tocsin.engine.settings import Settings
from tocsin.spec.schema import references, schema
from tocsin.web.server import web_app

REFERENCE = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by docs/generate.py from the code; `make docs` writes it anew. -->"
VARIABLE = re.compile(r"\bTOCSIN_[A-Z][A-Z_]*[A-Z]\b")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment. field: of `Settings`; example: text that is not its default.

    The default is not written here: it is read from `Settings`.
    """

    field: str
    example: str
    about: str
    unset: str = ""


VARIABLES: Mapping[str, Variable] = {
    "TOCSIN_DATA": Variable(
        "data_dir", "/var/lib/tocsin",
        "where Tocsin keeps its data. One process owns it. `demo` does not read it and uses"
        " `.tocsin-demo`",
    ),
    "TOCSIN_CONFIG": Variable(
        "config_dir", "/etc/tocsin",
        "directory of YAML documents. Without it `serve` works by what was applied last to the"
        " data directory, and by nothing when nothing was",
    ),
    "TOCSIN_STATE": Variable(
        "state_url", "postgresql://tocsin@localhost/tocsin",
        "a PostgreSQL database for alerts, incidents, effects and the ledger (needs"
        " `tocsin[postgres]`)", "`state.db` in the data directory",
    ),
    "TOCSIN_HOST": Variable(
        "host", "0.0.0.0",  # noqa: S104 (an example)
        "address to listen on. Anything but loopback needs `TOCSIN_TOKEN`",
    ),
    "TOCSIN_PORT": Variable(
        "port", "14318", "port to listen on; one for telemetry over HTTP, API and pages"
    ),
    "TOCSIN_GRPC_PORT": Variable(
        "grpc_port", "14317",
        "port for OTLP/gRPC, `0` for none. A port that is set must be free, or `serve` does not"
        " start; without it `serve` says in its log that the usual one is taken, and goes on",
        "`4317` if it is free",
    ),
    "TOCSIN_FLIGHT_PORT": Variable(
        "flight_port", "18815",
        "port for Arrow Flight, by which Arize's SDK updates spans, `0` for none. Taken ports: as"
        " above",
        "`8815` if it is free",
    ),
    "TOCSIN_TOKEN": Variable(
        "token", "0123456789abcdef0123456789abcdef",
        "access token of at least 16 characters, for people and for senders:"
        " `Authorization: Bearer …`. On loopback without it nobody logs in",
        "no login",
    ),
    "TOCSIN_URL": Variable(
        "url", "http://127.0.0.1:4318",
        "the running server that `import`, `export` and `costs` talk to, with `TOCSIN_TOKEN`;"
        " without it they open the data directory themselves, which no other process may have open",
        "none",
    ),
    "TOCSIN_PUBLIC_URL": Variable(
        "public_url", "https://tocsin.example.org",
        "the address people use, for links in messages; its host name is answered to as well",
        "`http://<host>:<port>`",
    ),
    "TOCSIN_SECRETS_DIR": Variable(
        "secrets_dir", "/run/secrets",
        "directory in which a file NAME holds what `{secret: NAME}` stands for. The environment"
        " is asked first",
    ),
    "TOCSIN_SECRETS_COMMAND": Variable(
        "secrets_command", "vault-read",
        "command that prints what `{secret: NAME}` stands for. It is asked last, without a shell,"
        " with NAME as its last argument, for at most 10 s",
    ),
    "TOCSIN_MEMORY_BYTES": Variable(
        "memory_bytes", "1000000000", "what the embedded ClickHouse may use, in bytes"
    ),
    "TOCSIN_LEASE_S": Variable(
        "lease", "30",
        "of several processes that share a PostgreSQL database: whole seconds (1 to 600) after"
        " which another one decides when the one that did has died",
    ),
    "TOCSIN_EMBEDDING_MODEL": Variable(
        "embedding_model", "/models/minilm",
        "folder of an ONNX model that embeds texts for drift (`embedded:input`, `embedded:output`);"
        " needs the extra `embed`. Nothing is downloaded",
    ),
    "TOCSIN_LATENESS_S": Variable(
        "lateness", "30",
        "whole seconds a minute stays open for calls that arrive late before it is judged for the"
        " first time. Minutes judged already are read again at the next evaluations",
    ),
    "TOCSIN_CLICKHOUSE": Variable(
        "clickhouse", "http://tocsin@clickhouse:8123",
        "a ClickHouse server for telemetry, `http(s)://user:password@host:port`, instead of the"
        " embedded one; or another Tocsin's served store ([cluster](../operate/cluster.md))."
        " `demo` does not read it",
        "the embedded ClickHouse in the data directory",
    ),
    "TOCSIN_CLICKHOUSE_PASSWORD": Variable(
        "clickhouse_password", "secret",
        "its password, when it is not in the URL. Like every secret it may also be a file of this"
        " name in `TOCSIN_SECRETS_DIR`, or what `TOCSIN_SECRETS_COMMAND` prints for this name",
    ),
    "TOCSIN_CLICKHOUSE_CLUSTER": Variable(
        "clickhouse_cluster", "main",
        "the cluster (`remote_servers`) on which tables are replicated and distributed",
        "one node",
    ),
    "TOCSIN_STORE_PORT": Variable(
        "store_port", "8123",
        "port on which `serve` lets other processes use its embedded ClickHouse",
        "not served",
    ),
    "TOCSIN_STORE_HOST": Variable(
        "store_host", "0.0.0.0",  # noqa: S104 (an example)
        "address for that port. Anything but loopback needs a token",
    ),
    "TOCSIN_STORE_TOKEN": Variable(
        "store_token", "0123456789abcdef0123456789abcdef",
        "token of at least 16 characters for processes that write to the served store; a secret"
        " like the password above",
    ),
    "TOCSIN_STORE_READ_TOKEN": Variable(
        "store_read_token", "fedcba9876543210fedcba9876543210",
        "the same for people and notebooks that only read it",
    ),
    "TOCSIN_DEADMAN_URL": Variable(
        "deadman_url", "https://hc-ping.com/8f0c1c1e-4b2f-4c52-9a51-1c3f6d5d2a10",
        "asked every minute while all is well; when that stops, what is behind it alarms",
    ),
    "TOCSIN_LEDGER_KEY": Variable(
        "ledger_key", "tocsin-ledger-private:…",
        "signs a checkpoint of the ledger every hour; `tocsin ledger key` makes one. A secret like"
        " the passwords above", unset="nothing is signed",
    ),
}  # fmt: skip


def pages() -> Mapping[str, str]:
    """File name under `docs/reference` -> its text."""
    return {
        "api.md": api_page(),
        "cli.md": cli_page(),
        "settings.md": settings_page(),
        "configuration.md": configuration_page(),
        "detectors.md": detectors_page(),
        "configuration.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
    }


def detectors_page() -> str:
    """What every kind of detector does and assumes, when it misleads, an example, and the paper."""
    lines = [
        "# Detectors", "", GENERATED, "",
        "Every kind, as its own file describes it: what it does, what it assumes, when it misleads,"
        " an example in Python that runs, and the paper. Which to choose:"
        " [the guide](../guides/detectors.md). All settings:"
        " [configuration](configuration.md).", "",
    ]  # fmt: skip
    for kind, detector in sorted(DETECTORS.items()):
        told = inspect.cleandoc(detector.__doc__ or "").split("\n\n")
        lines += [f"## {kind}", ""]
        for part in told:
            head, _, rest = part.partition(": ")
            if part.startswith(">>>"):
                lines += ["```text", part, "```", ""]
            elif head == "Parameters":
                continue
            elif head in ("What", "Assumes", "Misleads", "Paper"):
                lines += [f"**{head}.** {rest[:1].upper()}{rest[1:]}", ""]
            else:
                lines += [part, ""]
    return "\n".join(lines).rstrip() + "\n"


def cli_page() -> str:
    """Every command with its options."""
    lines = [
        "# Command line", "", GENERATED, "",
        "`make setup` puts `tocsin` into `.venv/bin`. A name in square brackets is the variable"
        " that says the same ([settings](settings.md)); the option wins. What goes wrong is told on"
        " stderr with exit code 1; 64 is a wrong option, 70 a fault of Tocsin itself.", "",
    ]  # fmt: skip
    for name, command in commands():
        lines += [f"## tocsin {name}", "", inspect.cleandoc(command.help), ""]
        lines += ["| option | | meaning |", "|---|---|---|"]
        lines += [_option(parameter) for parameter in command.params]
        lines.append("")
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its name, those of a group behind the group's."""
    top: Any = typer.main.get_command(cli.app)
    for name, command in top.commands.items():
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {word}", one) for word, one in below.items())


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    notes = []
    if parameter.required:
        notes.append("required")
    if parameter.multiple:
        notes.append("may be repeated")
    about = parameter.help or ""
    if parameter.name == "output":
        about = f"how results are written: {', '.join(f'`{one.value}`' for one in Output)}"
        notes.append(f"default `{parameter.default.value}`")
    return f"| {names} | {', '.join(notes)} | {about} |"


def settings_page() -> str:
    """Every variable, in the order of `VARIABLES`. Raises ValueError when one is not described."""
    unlike = sorted(set(VARIABLE.findall(inspect.getsource(settings))) ^ set(VARIABLES))
    if unlike:
        raise ValueError(f"describe these in docs/generate.py, or remove them: {', '.join(unlike)}")
    defaults = Settings(data_dir=Path("tocsin-data"))
    lines = [
        "# Settings", "", GENERATED, "",
        "Settings say where a process lives; what Tocsin does is"
        " [configuration](configuration.md). They are read once, at the start. An option of the"
        " [command line](cli.md) wins over its variable.", "",
        "| variable | default | meaning |", "|---|---|---|",
    ]  # fmt: skip
    for name, variable in VARIABLES.items():
        default = _default(getattr(defaults, variable.field), variable.unset)
        lines.append(f"| `{name}` | {default} | {variable.about} |")
    minutes = int(defaults.interval.total_seconds() // 60)
    every = "every minute" if minutes == 1 else f"every {minutes} minutes"
    lines += [
        "",
        f"Not to be set: Tocsin evaluates {every} and reads the last"
        f" {defaults.reread_minutes} minutes again for calls that came late.",
    ]
    return "\n".join(lines) + "\n"


def _default(value: object, unset: str) -> str:
    if isinstance(value, timedelta):
        return f"`{value.total_seconds():g}`"
    if value == 0 and unset:
        return unset
    return f"`{value}`" if value not in (None, "") else unset or "none"


def configuration_page() -> str:
    """Every kind of document on one page."""
    found = references()
    titles = {name: _title(name, page) for name, page in found.items()}
    lines = [
        "# Configuration", "", GENERATED, "",
        "Configuration is a directory of YAML files with any number of documents. Each has"
        " `apiVersion`, `kind`, `metadata` (`name`, and if you like `displayName`, `labels`,"
        " `annotations`) and `spec`; how they are spread over files does not matter. A misspelt"
        " field or a reference to nothing is an error with its file and line: `tocsin plan` says so"
        " before anything changes. Editors complete and check with"
        " [configuration.schema.json](configuration.schema.json). `examples/demo` is a complete"
        " one.", "",
    ]  # fmt: skip
    lines += [f"* [{title}](#{_anchor(title)})" for title in titles.values()]
    for name, page in found.items():
        lines += ["", f"## {titles[name]}", *_deeper(page.rstrip().splitlines()[1:])]
    return "\n".join(lines) + "\n"


class _Absent:
    """Stands where a running server is: describing what may be asked asks nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def api_page() -> str:
    """Every request of the API: its parameters and the fields of its body."""
    nobody: Any = _Absent()
    app: Any = web_app(nobody, nobody, Settings(Path("data")))
    (api,) = (each.app for each in app.routes if isinstance(each, Mount) and each.path == "/api")
    document = api.openapi()
    lines = [
        "# API", "", GENERATED, "",
        "Every request lies under `/api` and is answered with JSON, an error as a problem"
        " (RFC 9457). A running server describes the same, answers included, at"
        " `/api/openapi.json`. Access: [operate](../operate/README.md). A field without a default"
        " is needed.", "",
    ]  # fmt: skip
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, asked in methods.items():
            tag = (asked.get("tags") or ["more"])[0]
            groups.setdefault(tag, []).extend(_request(method, path, asked, document))
    for tag in sorted(groups):
        lines += [f"## {tag[:1].upper()}{tag[1:]}", "", *groups[tag]]
    return "\n".join(lines).rstrip() + "\n"


def _request(
    method: str, path: str, asked: Mapping[str, Any], document: Mapping[str, Any]
) -> Iterator[str]:
    yield from (f"### {method.upper()} /api{path}", "")
    yield from (f"{asked['summary'].rstrip('.')}.", "")
    rows = [
        _row(each["name"], each["schema"], each.get("required", False), document, each)
        for each in asked.get("parameters", ())
        if each["in"] == "query"
    ]
    if rows:
        yield from ("| parameter | type | default | |", "|---|---|---|---|", *rows, "")
    body = asked.get("requestBody", {}).get("content", {}).get("application/json", {})
    shape = _resolved(body.get("schema", {}), document)
    rows = [
        _row(name, field, name in shape.get("required", ()), document, field)
        for name, field in shape.get("properties", {}).items()
    ]
    if rows:
        yield from ("| field of the body | type | default | |", "|---|---|---|---|", *rows, "")


def _row(
    name: str,
    field: Mapping[str, Any],
    required: bool,
    document: Mapping[str, Any],
    said: Mapping[str, Any],
) -> str:
    default = "" if required else f"`{json.dumps(field.get('default'))}`"
    about = str(said.get("description", "")).replace("|", "\\|").replace("\n", " ")
    return f"| `{name}` | {_type(field, document)} | {default} | {about} |"


def _type(field: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    found = _resolved(field, document)
    if "anyOf" in found:
        kinds = [_type(each, document) for each in found["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != "null") or "null"
    if "enum" in found or "const" in found:
        return ", ".join(f"`{each}`" for each in found.get("enum", [found.get("const")]))
    if found.get("type") == "array":
        return f"list of {_type(found.get('items', {}), document)}"
    if found.get("format") == "date-time":
        return "time (RFC 3339)"
    return str(found.get("type", "anything"))


def _resolved(field: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(field.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else field
    return found


def _title(name: str, page: str) -> str:
    heading = page.splitlines()[0].removeprefix("# ")
    return f"{heading} of OpenSLO" if name.startswith("openslo-") else heading


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _deeper(lines: Iterable[str]) -> list[str]:
    return [f"#{line}" if line.startswith("## ") else line for line in lines]


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
