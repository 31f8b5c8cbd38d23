"""From a validator's complaint to a sentence: what is wrong, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tocsin.domain.errors import Problem
from tocsin.spec.yaml import Located, Place

Schema = Mapping[str, Any]


def explain(
    error: ValidationError, schema: Schema, data: Any, located: Located, place: Place
) -> list[Problem]:
    """One Problem per fault; `schema` is that of `data`, which stands at `place`."""
    problems: dict[Place, Problem] = {}
    for detail in error.errors(include_url=False):
        inner = _place_in(data, detail["loc"], detail["type"])
        if inner in problems or _is_echo(detail, _value_at(data, inner)):
            continue  # every branch of a union complains about the same value
        message, fix = _sentence(dict(detail), inner, schema, data)
        where = (*place, *(inner[:-1] if detail["type"] == "missing" else inner))
        problems[inner] = located.problem(where, message, fix)
    return list(problems.values())


def suggest(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" if something known is spelt alike, else the list of what is known."""
    names = sorted(set(known))
    folded = {_folded(name): name for name in reversed(names)}
    close = difflib.get_close_matches(_folded(word), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"known: {', '.join(names)}" if names else ""


def show(value: Any) -> str:
    """A value as short text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def fields_at(schema: Schema, place: Place) -> list[str]:
    """Names of the fields that the mapping at `place` may have, in the order of definition."""
    found: list[str] = []
    for part in _schemas_at(schema, place):
        found += [name for name in part.get("properties", {}) if name not in found]
    return found


# --------------------------------------------------------------------------------------------

_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "dataclass_exact_type": "a mapping",
    "datetime_type": "a time such as 2026-01-31T08:00:00Z",
    "datetime_from_date_parsing": "a time such as 2026-01-31T08:00:00Z",
    "datetime_parsing": "a time such as 2026-01-31T08:00:00Z",
    "none_required": "left out",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _sentence(detail: dict[str, Any], place: Place, schema: Schema, data: Any) -> tuple[str, str]:
    kind = detail["type"]
    name = str(place[-1]) if place else ""
    value = _value_at(data, place)
    if kind == "missing":
        return f"the required field {name!r} is missing", f"add {name}: ..."
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown field {name!r}", suggest(name, fields_at(schema, place[:-1]))
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, not {show(value)}", _hint(kind, value)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {detail['ctx'][key]:g}, not {show(value)}", ""
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(detail, value)
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}", ""


def _literal(detail: dict[str, Any], value: Any) -> tuple[str, str]:
    expected = detail["ctx"]["expected"]
    options = expected.replace(" or ", ", ").replace("'", "").split(", ")
    fix = suggest(value, options) if isinstance(value, str) else ""
    return f"must be {expected}, not {show(value)}", "" if fix.startswith("known") else fix


def _refused(detail: dict[str, Any], value: Any) -> tuple[str, str]:
    del value
    return str(detail["ctx"]["error"]), ""


def _pattern(detail: dict[str, Any], value: Any) -> tuple[str, str]:
    if detail["ctx"]["pattern"].startswith("^[a-z0-9]"):
        fix = (
            "use lower-case letters, digits, '-', '.' and '_'; start and end with a letter or digit"
        )
        return f"{show(value)} is not a valid name", fix
    return f"{show(value)} does not match {detail['ctx']['pattern']}", ""


def _too_short(detail: dict[str, Any], value: Any) -> tuple[str, str]:
    least = detail["ctx"].get("min_length", 1)
    if isinstance(value, str):
        return "must not be empty", ""
    return f"must hold at least {least} item{'s' if least != 1 else ''}", ""


_SPECIAL: Mapping[str, Callable[[dict[str, Any], Any], tuple[str, str]]] = {
    "literal_error": _literal,
    "enum": _literal,
    "value_error": _refused,
    "string_pattern_mismatch": _pattern,
    "string_too_short": _too_short,
    "too_short": _too_short,
}


def _hint(kind: str, value: Any) -> str:
    if kind.startswith("string") and isinstance(value, bool | int | float):
        return f'quote it: "{show(value)}"'
    if kind.startswith("bool") and isinstance(value, str):
        return "only true and false are booleans; yes, no, on and off are text"
    if kind.startswith(("int", "float")) and isinstance(value, str):
        return "remove the quotes" if value.replace(".", "", 1).isdigit() else ""
    return ""


def _place_in(data: Any, loc: tuple[str | int, ...], kind: str) -> Place:
    """The keys and indices of `loc` that lead through `data`, without the names of union types."""
    place: list[str | int] = []
    for number, part in enumerate(loc):
        is_last = number == len(loc) - 1
        if _leads_on(data, part):
            data = data[part]
        elif not (is_last and kind == "missing"):
            continue
        place.append(part)
    return tuple(place)


def _is_echo(detail: Any, value: Any) -> bool:
    """Whether a list is called too short only because its entries were refused."""
    least = detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and hasattr(value, "__len__") and len(value) >= least


def _leads_on(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _value_at(data: Any, place: Place) -> Any:
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _schemas_at(schema: Schema, place: Place) -> Iterator[Schema]:
    current = list(_branches(schema, schema))
    for part in place:
        inside: list[Schema] = []
        for branch in current:
            step = _step(branch, part)
            if isinstance(step, Mapping):
                inside += _branches(step, schema)
        current = inside
    yield from current


def _step(schema: Schema, part: str | int) -> Any:
    if isinstance(part, int):
        return schema.get("items")
    return schema.get("properties", {}).get(part, schema.get("additionalProperties"))


def _branches(schema: Schema, root: Schema) -> Iterator[Schema]:
    """The plain schemas behind references and unions."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from _branches(target, root)
        return
    yield schema
    for union in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(union, ()):
            yield from _branches(branch, root)


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
