"""What the values in documents look like: the shared types, and how a mapping becomes one.

Every kind of document, every detector's settings and every receiver's settings are validated by
`fit`, strictly: text is never taken for a number nor a number for text. The same types give the
JSON Schema, so that an editor and `tocsin plan` never disagree.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic.alias_generators import to_camel

from tocsin.domain.errors import Problem
from tocsin.routing.match import MatchError, compile_condition
from tocsin.spec.explain import explain
from tocsin.spec.yaml import Located, Place

T = TypeVar("T")

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = r"(0|[0-9]+(ms|s|m|h|d|w))"
_NAME = r"[a-z0-9]([-a-z0-9._]{0,251}[a-z0-9])?"


class Shape(BaseModel):
    """A mapping with a fixed set of fields; unknown fields are errors. Fields are camelCase."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


class SnakeShape(BaseModel):
    """As Shape, with snake_case fields: routing and everything that belongs to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def read_duration(text: object) -> timedelta:
    """The time that "90s", "15m", "2h", "28d" or "4w" names; ValueError otherwise."""
    found = re.fullmatch(_DURATION, text) if isinstance(text, str) else None
    if found is None:
        if text == 0 and not isinstance(text, bool):
            return timedelta(0)
        raise ValueError(f"must be a time such as 30s, 15m, 2h or 28d, not {text!r}")
    if found[1] == "0":
        return timedelta(0)
    return timedelta(seconds=int(found[1].removesuffix(found[2])) * _SECONDS[found[2]])


def _check_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{zone!r} is not an IANA time zone; write one such as UTC or Europe/Berlin"
        ) from None
    return zone


def _read_condition(condition: dict[str, Any]) -> dict[str, Any]:
    try:
        compile_condition(condition)
    except MatchError as error:
        raise ValueError(str(error)) from None
    return condition


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _schema_of_one_or_many(item: Mapping[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [dict(item), {"type": "array", "items": dict(item)}]})


Duration = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_DURATION}$", "examples": ["30s", "15m", "28d"]}
    ),
]
Zone = Annotated[str, AfterValidator(_check_zone)]
Name = Annotated[str, StringConstraints(pattern=f"^{_NAME}$", max_length=253)]
Text = Annotated[str, StringConstraints(min_length=1)]
OneOrMany = Annotated[
    tuple[str, ...], BeforeValidator(_as_tuple), _schema_of_one_or_many({"type": "string"})
]
Condition = Annotated[
    dict[str, Any],
    AfterValidator(_read_condition),
    WithJsonSchema(
        {
            "type": "object",
            "description": "label: value, [values], '!value' or a comparison such as '>=5m'",
            "additionalProperties": {
                "anyOf": [
                    {"type": ["string", "number", "boolean", "null"]},
                    {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}},
                ]
            },
        }
    ),
]


def fit(
    shape: type[T], data: Any, located: Located, place: Place
) -> tuple[T | None, list[Problem]]:
    """`data`, which stands at `place`, as an instance of `shape`; or all that is wrong with it.

    shape: a Shape, or any dataclass with annotated fields (a plugin's settings).
    """
    is_model = issubclass(shape, BaseModel)
    model: type[BaseModel] = shape if is_model else model_of(shape)  # type: ignore[assignment]
    found, problems = fit_model(model, data, located, place)
    if found is None or is_model:
        return found, problems  # type: ignore[return-value]  # found is a `shape` here
    try:
        return shape(**values_of(found)), []
    except ValueError as error:
        return None, [located.problem(place, str(error))]


def fit_model(
    model: type[BaseModel], data: Any, located: Located, place: Place
) -> tuple[BaseModel | None, list[Problem]]:
    """As `fit`, for a model."""
    try:
        return model.model_validate_json(json.dumps(data, allow_nan=False), strict=True), []
    except ValidationError as error:
        return None, explain(error, model.model_json_schema(), data, located, place)


def values_of(model: BaseModel) -> dict[str, Any]:
    """The fields of a model, not unfolded any further."""
    return {name: getattr(model, name) for name in type(model).model_fields}


def model_of(
    settings: type[Any], instead: Mapping[str, Any] = MappingProxyType({})
) -> type[BaseModel]:
    """A strict model with the fields of a dataclass: same names, types and defaults.

    Times are written as in the rest of the configuration ("15m"), and fields that `__init__` does
    not take are left out. instead: types that replace those of some fields.
    """
    return _model_of(settings, tuple(instead.items()))  # type: ignore[arg-type]  # hashable


@cache
def _model_of(settings: type[Any], instead: tuple[tuple[str, Any], ...]) -> type[BaseModel]:
    hints = {**typing.get_type_hints(settings, include_extras=True), **dict(instead)}
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        if item.init:
            fields[item.name] = (_readable(hints[item.name]), _default(item))
    config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    return create_model(settings.__name__, __config__=config, __doc__=settings.__doc__, **fields)


def _default(item: dataclasses.Field[Any]) -> Any:
    about = str(item.metadata.get("help", "")) or None
    if item.default is not dataclasses.MISSING:
        return Field(default=item.default, description=about)
    if item.default_factory is not dataclasses.MISSING:
        return Field(default_factory=item.default_factory, description=about)
    return Field(description=about)


def _readable(hint: Any) -> Any:
    if hint is timedelta:
        return Duration
    if hint == timedelta | None:
        return Duration | None
    return hint


class InlineMetadata(Shape):
    """The name of a document that is written inside another."""

    name: Name
    display_name: str = ""
    labels: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, Any] = Field(default_factory=dict)
