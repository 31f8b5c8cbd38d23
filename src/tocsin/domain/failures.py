"""Which class a failure is of, by what is told about it: a code, a type, a message, how it ended.

The word lists are those of the instrumentations recorded so far. The store reads them as SQL
(`store.meaning`), over spans by the million; files that are read without a store ask
`failure_class`. Both must say the same, and a test asks them both.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tocsin.domain.calls import ERROR_CLASSES

# Words of finish reasons that mean: stopped by a policy.
FILTERED_ENDS = (
    "content_filter", "content-filter", "refusal", "guardrail_intervened", "safety",
    "recitation", "prohibited_content", "blocklist",
)  # fmt: skip

# Words that stand where nobody said why generation ended.
UNSAID_ENDS = ("unknown", "none", "null", "finish_reason_unspecified", "queued", "in_progress")

# First match wins. The text is lower-case: HTTP status, error type, message (see `failure_text`).
FILTERED = r"content_filter|content management policy|responsibleaipolicy"
ERROR_PATTERNS = (
    ("rate_limit", r"rate.?limit|throttl|resource.?exhausted|too many requests|quota"),
    ("overloaded", r"overloaded|service.?unavailable|no capacity|slow.?down"),
    ("timeout", r"timed?.?out|deadline|etimedout"),
    ("auth", r"authenti|permission.?denied|unauthorized|forbidden|access.?denied|api.?key"),
    (
        "bad_request",
        r"bad.?request|invalid.?request|not.?found|unprocessable|validation|context.?length"
        r"|invalid.?argument",
    ),
    (
        "connection",
        r"connect|socket|econn|\bdns\b|\bssl|broken pipe|remote.?protocol|incomplete.?read",
    ),
    ("server", r"internal.?server|server.?error|bad.?gateway|\bapi.?(status.?)?error"),
)
STATUS = r"(?:error code|status code|status_code|status|http)[:= /]*([45][0-9]{2})\b"
# Classes of HTTP statuses (RFC 9110, section 15; 529 is Anthropic's "overloaded").
STATUS_CLASSES = (
    ((429,), "rate_limit"),
    ((503, 529), "overloaded"),
    ((408, 504), "timeout"),
    ((401, 403), "auth"),
)

_PATTERNS = tuple((name, re.compile(text, re.ASCII)) for name, text in ERROR_PATTERNS)
_FILTERED = re.compile(FILTERED, re.ASCII)
_STATUS = re.compile(STATUS, re.ASCII)
_WORD = re.compile("[A-Za-z_-]+")


def is_filtered(finish_reason: str) -> bool:
    """Whether generation was stopped by a policy."""
    word = _WORD.search(finish_reason)
    return word is not None and word[0].lower() in FILTERED_ENDS


def is_unsaid(finish_reason: str) -> bool:
    """Whether nothing is said about why generation ended."""
    word = _WORD.search(finish_reason)
    return word is None or word[0].lower() in UNSAID_ENDS


@lru_cache(maxsize=65_536)
def failure_class(
    error_type: str, http_status: int = 0, message: str = "", finish_reason: str = ""
) -> str:
    """The class of a call that failed, one of `domain.calls.ERROR_CLASSES`.

    error_type: a class, or any name of an error; http_status: 0 when none was told.
    """
    if error_type in ERROR_CLASSES:
        return error_type
    text = f"http:{http_status or ''} status:{error_type}  {message[:500]} ".lower()
    if is_filtered(finish_reason) or _FILTERED.search(text):
        return "content_filter"
    told = _STATUS.search(text)
    if told is not None:
        code = int(told[1])
        known = (name for codes, name in STATUS_CLASSES if code in codes)
        return next(known, "server" if code >= 500 else "bad_request")
    return next((name for name, pattern in _PATTERNS if pattern.search(text)), "other")
