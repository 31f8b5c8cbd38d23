"""One HTTP request to a Tocsin server, with the standard library, and what came of it.

urllib rather than a client of our own: it knows proxies (HTTPS_PROXY, NO_PROXY) and certificates.
Redirects are not followed, because a redirected POST arrives as a GET without its body.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 (what resolving a host name imports, see below)
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

# All of it is imported here, in the application's thread: in the sending thread it could be half
# imported when the application forks, and would stay so in the child.
_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What the server said. status 0: nothing, and `text` says why. retry_after: seconds."""

    status: int
    text: str = ""
    retry_after: float | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the request was taken."""
        return 200 <= self.status < 300


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> urllib.request.Request | None:
        return None


class Transport:
    """Sends requests one at a time; not to be shared by threads."""

    def __init__(self, headers: Mapping[str, str], timeout: float) -> None:
        self._headers = dict(headers)
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(
        self,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Send one request. Never raises for what a network or a server does."""
        request = urllib.request.Request(  # noqa: S310 (the settings allow http and https only)
            url, body, {**self._headers, **(headers or {})}, method=method
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as found:
                text = found.read(_LARGEST_ANSWER).decode("utf-8", "replace")
                return Answer(found.status, text)
        except urllib.error.HTTPError as error:
            with error:
                text = _text_of(error)
                return Answer(error.code, text, seconds_of(error.headers.get("Retry-After")))
        except Exception as error:
            reason = getattr(error, "reason", None) or error
            return Answer(0, f"{type(error).__name__}: {reason}")


def seconds_of(header: str | None, now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    text = header.strip()
    if text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError):
        return None
    return max(at - (time.time() if now is None else now), 0.0)


def _text_of(error: Any) -> str:
    try:
        return str(error.read(_LARGEST_ANSWER).decode("utf-8", "replace"))
    except Exception:
        return ""
