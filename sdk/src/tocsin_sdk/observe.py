"""The decorator: a function, coroutine, generator or asynchronous generator becomes a call.

Of a generator the time to the first chunk is measured, and its call lasts until it is exhausted,
closed or fails; the time its consumer takes between chunks is part of that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from typing import Any, Callable, TypeVar, cast

from tocsin_sdk.call import Call
from tocsin_sdk.usage import StreamReader

F = TypeVar("F", bound=Callable[..., Any])
Begin = Callable[[], Call]


def observed(function: F, begin: Begin, *, content: bool) -> F:
    """`function`, each run of which is the call that `begin` makes.

    content: its arguments are the input, and what it returns or yields is the output.
    """
    if inspect.isasyncgenfunction(function):
        made = _async_generator(function, begin, content)
    elif inspect.isgeneratorfunction(function):
        made = _generator(function, begin, content)
    elif inspect.iscoroutinefunction(function):
        made = _coroutine(function, begin, content)
    else:
        made = _function(function, begin, content)
    return cast(F, functools.wraps(function)(made))


def _function(function: Callable[..., Any], begin: Begin, content: bool) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with begin() as call:
            _asked(call, args, kwargs, content)
            answer = function(*args, **kwargs)
            _answered(call, answer, content)
        return answer

    return run


def _coroutine(function: Callable[..., Any], begin: Begin, content: bool) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> Any:
        with begin() as call:
            _asked(call, args, kwargs, content)
            answer = await function(*args, **kwargs)
            _answered(call, answer, content)
        return answer

    return run


def _generator(function: Callable[..., Any], begin: Begin, content: bool) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = begin()
        call.begin()
        _asked(call, args, kwargs, content)
        reader = call.reader(content=content)
        try:
            result = yield from _Tap(function(*args, **kwargs), call, reader)
        except BaseException as error:
            call.merge(reader.fields)
            call.end(error)
            raise
        call.complete(reader)
        call.end()
        return result

    return run


class _Tap:
    """Stands between a generator and who consumes it; inside, the call is the current one."""

    def __init__(self, inner: Generator[Any, Any, Any], call: Call, reader: StreamReader) -> None:
        self._inner = inner
        self._call = call
        self._reader = reader

    def __iter__(self) -> _Tap:
        return self

    def __next__(self) -> Any:
        return self._step(self._inner.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def close(self) -> None:
        self._inner.close()

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        self._call.enter()
        try:
            chunk = step(*args)
        finally:
            self._call.leave()
        self._call.see(self._reader, chunk)
        return chunk


def _async_generator(
    function: Callable[..., Any], begin: Begin, content: bool
) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = begin()
        call.begin()
        _asked(call, args, kwargs, content)
        reader = call.reader(content=content)
        inner: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        step: Awaitable[Any] = inner.__anext__()
        try:
            while True:
                call.enter()
                try:
                    chunk = await step
                except StopAsyncIteration:
                    break
                finally:
                    call.leave()
                call.see(reader, chunk)
                try:
                    sent = yield chunk
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:
                    step = inner.athrow(error)
                else:
                    step = inner.asend(sent)
        except BaseException as error:
            call.merge(reader.fields)
            call.end(error)
            raise
        call.complete(reader)
        call.end()

    return run


def _asked(call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any], content: bool) -> None:
    """Texts, lists and mappings among the arguments are the input; objects are not looked into."""
    if not content or call.input is not None:
        return
    given = [v for v in (*args, *kwargs.values()) if isinstance(v, (str, list, tuple, dict))]
    if given:
        call.input = given[0] if len(given) == 1 else given


def _answered(call: Call, answer: Any, content: bool) -> None:
    call.learn(answer, content=content)
    if content and call.output is None and isinstance(answer, (str, dict, list)):
        call.output = answer
