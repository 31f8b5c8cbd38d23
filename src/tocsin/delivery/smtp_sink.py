"""A mail server that keeps what it gets and sends nothing on: the demo's mailbox (RFC 5321)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes
from email.policy import default

from tocsin.delivery.sinks import Record

LARGEST_MESSAGE = 10_000_000


async def serve_smtp(
    record: Record,
    now: Callable[[], datetime],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    name: str = "email",
) -> asyncio.Server:
    """Listen on `host` and `port` (0: any free one). Every mail is recorded with its text part.

    The caller closes the server.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Session(record, now, name, reader, writer).run()
        except (ConnectionError, ValueError):
            pass  # the client went away, or does not speak SMTP
        finally:
            writer.close()

    return await asyncio.start_server(serve, host, port, limit=2 * LARGEST_MESSAGE)


class _Session:
    def __init__(
        self,
        record: Record,
        now: Callable[[], datetime],
        name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._record, self._now, self._name = record, now, name
        self._reader, self._writer = reader, writer
        self._sender = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        """The dialogue, until QUIT."""
        await self._say("220 tocsin-sink ESMTP")
        while line := await self._reader.readline():
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            if verb.upper() == "QUIT":
                await self._say("221 bye")
                return
            await self._say(await self._answer(verb.upper(), rest))

    async def _answer(self, verb: str, rest: str) -> str:
        if verb in {"EHLO", "HELO"}:
            return "250 tocsin-sink"
        if verb in {"RSET", "NOOP"}:
            self._reset()
            return "250 ok"
        if verb == "MAIL":
            return self._from(rest)
        if verb == "RCPT":
            return self._to(rest)
        return await self._data() if verb == "DATA" else "502 not implemented"

    def _from(self, rest: str) -> str:
        if not rest.upper().startswith("FROM:"):
            return "501 MAIL FROM:<address>"
        self._reset()
        self._sender = rest[5:].strip()
        return "250 ok"

    def _to(self, rest: str) -> str:
        if not self._sender:
            return "503 MAIL first"
        if not rest.upper().startswith("TO:"):
            return "501 RCPT TO:<address>"
        self._recipients.append(rest[3:].strip())
        return "250 ok"

    async def _data(self) -> str:
        if not self._recipients:
            return "503 RCPT first"
        await self._say("354 end with <CRLF>.<CRLF>")
        lines: list[bytes] = []
        size = 0
        while (line := await self._reader.readline()) != b".\r\n":
            if not line:
                raise ConnectionResetError
            size += len(line)
            if size <= LARGEST_MESSAGE:
                lines.append(line[1:] if line.startswith(b".") else line)
        if size > LARGEST_MESSAGE:
            return "552 message too large"
        mail = message_from_bytes(b"".join(lines), policy=default)
        if not mail["Message-ID"] or not mail["From"]:
            return "554 a mail needs From and Message-ID"
        part = mail.get_body(("plain", "html"))
        text = part.get_content() if part is not None else ""
        headers = {key: str(value) for key, value in mail.items()}
        self._record(self._name, self._now(), headers, text)
        self._reset()
        return "250 accepted"

    def _reset(self) -> None:
        self._sender, self._recipients = "", []

    async def _say(self, line: str) -> None:
        self._writer.write(f"{line}\r\n".encode())
        await self._writer.drain()
