"""Tell Tocsin about every call of an LLM service, without ever getting in its way.

    import tocsin_sdk

    tocsin_sdk.init(endpoint="http://127.0.0.1:4318", service="support-assistant")

    @tocsin_sdk.observe
    def answer(question): ...

Without `init` the environment decides: with TOCSIN_URL records are sent, without it nothing is.
Nothing here waits for a network, and nothing here raises.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable, TypeVar, overload

from tocsin_sdk.call import Call, current_call
from tocsin_sdk.client import Client, Stats
from tocsin_sdk.observe import observed
from tocsin_sdk.settings import BeforeSend, Settings, is_configured, read_settings

__all__ = [
    "BeforeSend", "Call", "Client", "Settings", "Stats", "aflush", "call", "change", "current_call",
    "feedback", "flush", "get_client", "ground_truth", "init", "log_call", "observe", "score",
    "shutdown", "stats",
]  # fmt: skip
__version__ = "0.1.0"

log = logging.getLogger("tocsin_sdk")
F = TypeVar("F", bound=Callable[..., Any])

_client: Client | None = None
_lock = threading.Lock()


def init(
    endpoint: str | None = None,
    token: str | None = None,
    service: str | None = None,
    environment: str | None = None,
    **settings: Any,
) -> Client:
    """Choose where records go, for the whole process; returns the client. See `Settings`.

    What is not given comes from the environment (TOCSIN_URL, TOCSIN_TOKEN, TOCSIN_SERVICE or
    OTEL_SERVICE_NAME, TOCSIN_ENVIRONMENT), then from the defaults. A setting that makes no sense is
    logged as an error and leaves a client that sends nothing. Called again, it replaces the client
    of before, which sends what it still holds.
    """
    global _client
    given = {"endpoint": endpoint, "token": token, "service": service, "environment": environment}
    try:
        chosen = read_settings({**given, **settings})
    except (TypeError, ValueError) as error:
        log.error("tocsin-sdk: nothing will be sent: %s", error)
        chosen = Settings(enabled=False)
    fresh = Client(chosen)
    with _lock:
        before, _client = _client, fresh
    if before is not None:
        threading.Thread(target=before.shutdown, daemon=True).start()
    return fresh


def get_client() -> Client:
    """The client of this process, made from the environment when `init` was never called."""
    return _client or _from_environment()


def call(name: str = "", *, kind: str = "llm", **fields: Any) -> Call:
    """`with tocsin_sdk.call("answer", model="gpt-4o-mini") as c: ...`; also `async with`."""
    return get_client().call(name, kind=kind, **fields)


@overload
def observe(function: F) -> F: ...


@overload
def observe(
    function: None = None,
    *,
    name: str = "",
    kind: str = "llm",
    content: bool = False,
    **fields: Any,
) -> Callable[[F], F]: ...


def observe(
    function: F | None = None,
    *,
    name: str = "",
    kind: str = "llm",
    content: bool = False,
    **fields: Any,
) -> F | Callable[[F], F]:
    """Record every run of a function, coroutine, generator or asynchronous generator as a call.

    content: send its arguments as the input and what it returns as the output; by default neither.
    fields: what every such call is known by, such as model="gpt-4o-mini". Model and tokens are read
    from what it returns or yields when that is an answer of OpenAI's or Anthropic's client.
    """

    def decorate(inner: F) -> F:
        title = name or getattr(inner, "__name__", "call")
        return observed(inner, lambda: call(title, kind=kind, **fields), content=content)

    return decorate if function is None else decorate(function)


def log_call(**fields: Any) -> str | None:
    """Record a call that is over; returns its id, None when it is not recorded."""
    return get_client().log_call(**fields)


def score(
    name: str,
    value: Any = None,
    *,
    label: str | None = None,
    call_id: str | None = None,
    **more: Any,
) -> bool:
    """Judge a call, the current one without `call_id`: a number, a label, or both."""
    return get_client().score(name, value, label=label, call_id=call_id, **more)


def feedback(value: Any, *, call_id: str | None = None, **more: Any) -> bool:
    """What a user said about a call: True, False, or a number (0 and below is bad)."""
    return get_client().feedback(value, call_id=call_id, **more)


def ground_truth(value: Any, *, call_id: str, name: str = "ground_truth", **more: Any) -> bool:
    """What turned out to be true about a call, hours or weeks later."""
    return get_client().ground_truth(value, call_id=call_id, name=name, **more)


def change(kind: str, title: str, *, service: str | None = None, **more: Any) -> bool:
    """Say what somebody did: a deploy, a prompt version, a model switch."""
    return get_client().change(kind, title, service=service, **more)


def stats() -> Stats:
    """What became of everything recorded so far in this process."""
    return get_client().stats()


def flush(timeout: float = 5.0) -> bool:
    """Send what waits; True when all of it is settled. Blocks for at most `timeout` seconds."""
    return get_client().flush(timeout)


async def aflush(timeout: float = 5.0) -> bool:
    """As `flush`, without blocking the event loop."""
    return await get_client().aflush(timeout)


def shutdown(timeout: float | None = None) -> bool:
    """Flush and stop. The end of the process does it as well."""
    return get_client().shutdown(timeout)


def _from_environment() -> Client:
    global _client
    with _lock:
        if _client is None:
            try:
                chosen = read_settings({} if is_configured() else {"enabled": False})
            except (TypeError, ValueError) as error:
                log.error("tocsin-sdk: nothing will be sent: %s", error)
                chosen = Settings(enabled=False)
            _client = Client(chosen)
        return _client
