"""The store over HTTP: enough of ClickHouse's protocol for clickhouse-connect, and no more.

It lets a second process of Tocsin, or a notebook, use the embedded store of a running one. Callers
are told apart by token: one may do what a Tocsin process does to its store, the other may look.
What a statement may hold is decided by `tocsin.store.fence`; sizes and times by
`tocsin.store.served`. What it does not have, a real server has: sessions, compressed and streamed
answers, progress, users, quotas, KILL that stops anything. See `docs/operate/cluster.md`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tocsin.domain.errors import IntakeError
from tocsin.intake.admission import Admission
from tocsin.intake.bodies import BodyLimits, read_body, unpack, window_bits
from tocsin.store.fence import INPUT_FORMATS, Scope
from tocsin.store.served import (
    ACCESS_DENIED,
    NOT_SUPPORTED,
    TOO_LARGE,
    Answer,
    Asked,
    External,
    Refused,
    Served,
)
from tocsin.web.auth import LOOPBACK_HOSTS, AuthError, hash_token, is_loopback

log = structlog.get_logger(__name__)

_NO_SUCH_USER = 516
_STATUS = {60: 404, 81: 404, ACCESS_DENIED: 403, _NO_SUCH_USER: 401, TOO_LARGE: 413, 202: 503}
# What a client may say about the request itself; every other parameter is a setting.
_ABOUT = {
    "query", "database", "default_format", "query_id", "wait_end_of_query", "buffer_size",
    "enable_http_compression", "client_protocol_version", "send_progress_in_http_headers",
    "http_headers_progress_interval_ms", "compress", "decompress", "role",
    "add_http_cors_header", "http_write_exception_in_output_format",
}  # fmt: skip
_EXTERNAL_NAME = re.compile(r"[A-Za-z_]\w{0,60}")
_SLICE = 1 << 20


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Who may come in, by the hash of a token. Without tokens anybody on this machine may write.

    any_host: the Host header may name anything; on loopback without it, only this machine, so that
    a page in somebody's browser cannot reach the store by rebinding a name.
    """

    tokens: Mapping[str, Scope] = field(default_factory=dict, repr=False)
    any_host: bool = False

    @classmethod
    def for_bind(cls, host: str, token: str | None, read_token: str | None) -> Doorkeeper:
        """AuthError when an address beyond this machine has no token, or one is short."""
        found = {
            hash_token(text): scope
            for text, scope in ((read_token, Scope.READ), (token, Scope.WRITE))
            if text
        }
        if not is_loopback(host) and not found:
            raise AuthError(
                f"the store is not served on {host} without a token: set TOCSIN_STORE_TOKEN (for"
                " Tocsin processes) or TOCSIN_STORE_READ_TOKEN (for people who look)"
            )
        return cls(found, any_host=not is_loopback(host))

    def scope_of(self, request: Request) -> Scope:
        """What the caller may do. Refused when it may nothing."""
        headers = request.headers
        if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
            raise Refused("pages in a browser have no business here", ACCESS_DENIED)
        host = headers.get("host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if not self.any_host and name not in LOOPBACK_HOSTS:
            raise Refused(f"this store does not answer to the name {host[:100]!r}", ACCESS_DENIED)
        if not self.tokens:
            return Scope.WRITE
        given = hashlib.sha256(_token(request).encode()).hexdigest()
        for known, scope in self.tokens.items():
            if hmac.compare_digest(known, given):
                return scope
        raise Refused("the token is missing or wrong: give it as the password", _NO_SUCH_USER)


class StoreFront:
    """Answers requests as ClickHouse's HTTP interface does."""

    def __init__(self, served: Served, door: Doorkeeper) -> None:
        self._served = served
        self._door = door
        self._admission = Admission()

    def app(self) -> Starlette:
        """`/` for statements, `/ping` for who wants to know whether somebody is there."""
        return Starlette(
            routes=[
                Route("/", self._query, methods=["GET", "POST"]),
                Route("/ping", _ping, methods=["GET"]),
            ]
        )

    async def _query(self, request: Request) -> Response:
        query_id = str(uuid4())
        try:
            scope = self._door.scope_of(request)
            options = dict(parse_qsl(request.url.query, keep_blank_values=True))
            query_id = options.get("query_id") or query_id
            _refuse_unknown(options)
            answer = await self._answered(request, options, scope)
        except Refused as error:
            return _failure(str(error), error.code, query_id)
        except IntakeError as error:
            code = TOO_LARGE if error.status == 413 else NOT_SUPPORTED
            return _failure(str(error), code, query_id, error.status)
        return _success(answer, query_id)

    async def _answered(self, request: Request, options: dict[str, str], scope: Scope) -> Answer:
        limits = BodyLimits(self._served.bounds.body_bytes, self._served.bounds.body_bytes)
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_part_size=limits.unpacked_bytes, max_fields=2000) as form:
                given = {name: str(v) for name, v in form.items() if not isinstance(v, UploadFile)}
                files = {n: v for n, v in form.items() if isinstance(v, UploadFile)}
                with self._kept({name: v.file.read() for name, v in files.items()}) as paths:
                    return await self._run({**options, **given}, b"", scope, paths)
        body = await _body(request, limits, self._admission)
        if request.method == "GET" and scope is Scope.WRITE:
            scope = Scope.READ  # as ClickHouse has it: GET changes nothing
        return await self._run(options, body, scope, {})

    async def _run(
        self, options: dict[str, str], body: bytes, scope: Scope, files: Mapping[str, Path]
    ) -> Answer:
        text = options.get("query", "")
        rows: bytes | None = body if text and body and _inserts(text) else None
        if rows is None:
            text = (
                f"{text}\n{body.decode()}"
                if text and body
                else text or body.decode("utf-8", "replace")
            )
            split = self._served.split(body if not options.get("query") else text.encode())
            if split is not None:
                text, rows = split
        externals = [_external(name, path, options) for name, path in files.items()]
        used = {f"{table.name}_{part}" for table in externals for part in ("format", "structure")}
        with self._kept({} if rows is None else {"body": rows}) as paths:
            asked = Asked(
                text=text.strip().rstrip(";"),
                scope=scope,
                body=paths.get("body"),
                parameters={k[6:]: v for k, v in options.items() if k.startswith("param_")},
                settings={
                    k: v for k, v in options.items()
                    if k not in _ABOUT | used and not k.startswith("param_")
                },
                externals=externals,
                default_format=options.get("default_format", "TabSeparated"),
                query_id=options.get("query_id", ""),
            )  # fmt: skip
            if not asked.text:
                raise Refused("the request holds no statement", 62)
            return await run_in_threadpool(self._served.run, asked)

    @contextmanager
    def _kept(self, bodies: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
        """Bodies as files that nobody else can read, for as long as the block lasts."""
        paths = {name: self._served.files / uuid4().hex for name in bodies}
        try:
            for name, path in paths.items():
                path.touch(mode=0o600)
                path.write_bytes(bodies[name])
            yield paths
        finally:
            for path in paths.values():
                path.unlink(missing_ok=True)


async def _ping(_: Request) -> Response:
    return PlainTextResponse("Ok.\n")


def _refuse_unknown(options: Mapping[str, str]) -> None:
    if "session_id" in options:
        raise Refused(
            "sessions are not served: connect with autogenerate_session_id=False", NOT_SUPPORTED
        )
    if {"user", "password", "quota_key"} & set(options):
        raise Refused(
            "give the token as the password of the request, not in the URL", ACCESS_DENIED
        )
    if options.get("database", "tocsin") not in {"tocsin", "default", "", "__default__"}:
        raise Refused(f"there is no database {options['database'][:100]!r} here", 81)


def _inserts(text: str) -> bool:
    return text.lstrip()[:6].lower() == "insert"


def _external(name: str, path: Path, options: Mapping[str, str]) -> External:
    form = options.get(f"{name}_format", "TabSeparated")
    structure = options.get(f"{name}_structure", options.get(f"{name}_types", ""))
    if not _EXTERNAL_NAME.fullmatch(name) or form not in INPUT_FORMATS or not structure:
        raise Refused(
            f"the external table {name[:60]!r} needs a format and a structure", ACCESS_DENIED
        )
    return External(name, form, structure, path)


def _token(request: Request) -> str:
    """The token of a request: password of Basic, Bearer, or ClickHouse's own header."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return request.headers.get("x-clickhouse-key", "")


async def _body(request: Request, limits: BodyLimits, admission: Admission) -> bytes:
    """The unpacked body; gzip and deflate as everywhere, zstd and lz4 as ClickHouse's clients."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    bits = 0 if encoding in {"zstd", "lz4"} else window_bits(encoding)
    with admission.request() as ticket:
        packed = await read_body(request, limits, ticket)
        if bits:
            return await run_in_threadpool(unpack, packed, bits, limits.unpacked_bytes)
        if encoding in {"zstd", "lz4"}:
            return await run_in_threadpool(_unpacked, encoding, packed, limits.unpacked_bytes)
        return packed


def _unpacked(encoding: str, data: bytes, limit: int) -> bytes:
    """Unpack slice by slice, so that a bomb is noticed before it has gone off."""
    module = importlib.import_module("lz4.frame" if encoding == "lz4" else "backports.zstd")
    make: Any = module.LZ4FrameDecompressor if encoding == "lz4" else module.ZstdDecompressor
    out, rest = bytearray(), data
    while rest:
        member, pending = make(), rest
        while not member.eof:
            try:
                piece = member.decompress(pending, _SLICE)
            except Exception as error:  # noqa: BLE001 (each library has errors of its own)
                raise IntakeError(400, f"the {encoding} body is damaged: {error}") from None
            pending = b""
            out += piece
            if len(out) > limit:
                raise IntakeError(413, f"the body unpacks to more than {limit >> 20} MiB")
            if not piece and member.needs_input and not member.eof:
                raise IntakeError(400, f"the {encoding} body ends too early")
        rest = member.unused_data or b""
    return bytes(out)


def _success(answer: Answer, query_id: str) -> Response:
    headers = {
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Summary": json.dumps(answer.summary),
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "tocsin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if answer.format:
        headers["X-ClickHouse-Format"] = answer.format
    return Response(answer.body, headers=headers, media_type="application/octet-stream")


def _failure(text: str, code: int, query_id: str, status: int = 0) -> Response:
    told = text if text.startswith("Code: ") else f"Code: {code}. DB::Exception: {text}"
    headers = {
        "X-ClickHouse-Exception-Code": str(code),
        "X-ClickHouse-Query-Id": query_id,
        "X-Content-Type-Options": "nosniff",
    }
    if code == _NO_SUCH_USER:
        headers["WWW-Authenticate"] = 'Basic realm="tocsin store"'
    return PlainTextResponse(f"{told}\n", status or _STATUS.get(code, 500), headers=headers)
