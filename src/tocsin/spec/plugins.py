"""Settings of plugins (channels, sources): checked against what the plugin declares.

No plugin is known here by name. Its settings are the fields of its frozen dataclass; any of them
may be a reference `{secret: NAME}`, and one that the plugin declares as secret must be. `default`
says what holds where NAME is not set (for a secret only null, which leaves it out), so that one
text fits a test bench and production:

    url: {secret: PAGERDUTY_URL, default: "https://events.pagerduty.com/v2/enqueue"}
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Collection, Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, Union

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import core_schema

from tocsin.domain.errors import Problem, TocsinError
from tocsin.domain.secret import Secret
from tocsin.spec.explain import suggest
from tocsin.spec.shape import SnakeShape, fit_model, model_of, values_of
from tocsin.spec.yaml import Located, Place

Secrets = Callable[[str], str | None]
Plugins = Mapping[str, Any]  # a class with a `Config` by name

REFERENCE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "resolved at run time: environment, a file in TOCSIN_SECRETS_DIR, or a command",
    "properties": {"secret": {"type": "string"}},
    "required": ["secret"],
    "additionalProperties": False,
}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_WITH_DEFAULT: Mapping[str, Any] = {
    **REFERENCE_SCHEMA,
    "properties": {"secret": {"type": "string"}, "default": _SCALAR},
}
SecretReference = Annotated[dict[str, Any], WithJsonSchema(dict(REFERENCE_SCHEMA))]


class PluginName:
    """Annotates a field that names one of the plugins `known`; what: their kind in messages."""

    def __init__(self, what: str, known: Collection[str]) -> None:
        self._what, self._known = what, known  # which grows with plugins

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(self._known)}

    def _check(self, name: str) -> str:
        if name not in self._known:
            fix = suggest(name, sorted(self._known))
            raise ValueError(f"there is no {self._what} type {name!r} ({fix})")
        return name


def settings_schema(config: type[Any], prefix: str = "") -> dict[str, Any]:
    """JSON Schema of a plugin's settings; each may also be a reference to a secret.

    prefix: stands before the name of every definition that a `$ref` points at.
    """
    hints = typing.get_type_hints(config, include_extras=True)
    instead = {name: SecretReference for name, hint in hints.items() if _mentions_secret(hint)}
    template = f"#/$defs/{prefix}{{model}}"
    schema = model_of(config, instead).model_json_schema(ref_template=template)
    for name, field in schema.get("properties", {}).items():
        if name not in instead:
            outer = {key: field.pop(key) for key in ("default", "title") if key in field}
            schema["properties"][name] = {**outer, "anyOf": [field, dict(_WITH_DEFAULT)]}
    return schema


def fit_settings(
    config: type[Any],
    settings: Mapping[str, Any],
    located: Located,
    secrets: Secrets | None,
    place: Place = ("spec",),
) -> tuple[Any, list[Problem]]:
    """`settings` of a document as an instance of `config`, or all that is wrong with them.

    secrets: resolves references; without it, settings that hold one are checked and not built.
    place: where they stand.
    """
    hints = typing.get_type_hints(config, include_extras=True)
    known = {item.name for item in dataclasses.fields(config) if item.init}
    references = {k: v for k, v in settings.items() if k in known and is_reference(v)}
    inline = _inline(hints, settings, references)
    problems = [located.problem((*place, name), *said) for name, said in inline.items()]
    instead: dict[str, Any] = dict.fromkeys(references, SecretReference)
    instead |= {k: Any for k in known & set(settings) if k in inline}
    model, faults = fit_model(model_of(config, instead), dict(settings), located, place)
    problems += faults
    if model is None or problems or (references and secrets is None):
        return None, problems
    values = values_of(model)
    for name, reference in references.items() if secrets else ():
        try:
            values[name] = _resolved(hints[name], reference, secrets or _no_secret)
        except ValueError as error:
            problems.append(located.problem((*place, name), *error.args))
    if problems:
        return None, problems
    try:
        return config(**values), []
    except (ValueError, TocsinError) as error:
        return None, [located.problem(place, str(error))]


class PluginShape(SnakeShape):
    """A shape whose fields beside its own are settings of the plugin that `type` names.

    plugins: those there are. place: where the shape stands in its document.
    """

    model_config = ConfigDict(extra="allow")

    plugins: ClassVar[Plugins]
    place: ClassVar[Place] = ("spec",)
    type: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is for the type."""
        return dict(self.model_extra or {})

    def examine(self, located: Located) -> tuple[list[Problem], list[Problem]]:
        """What is wrong with the settings, and what cannot be said without their secrets."""
        config = self.plugins[self.type].Config
        _, faults = fit_settings(config, self.settings, located, None, self.place)
        needed = [
            value["secret"]
            for value in self.settings.values()
            if is_reference(value) and "default" not in value
        ]
        if not needed:
            return faults, []
        note = f"{', '.join(dict.fromkeys(needed))}: not looked up here, nor what depends on it"
        return faults, [located.problem(self.place, note, "tocsin doctor says whether it is set")]


# --------------------------------------------------------------------------------------------


def _no_secret(name: str) -> None:
    del name


def is_reference(value: Any) -> bool:
    """Whether a value in YAML is `{secret: NAME}`, perhaps with a default."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("secret"), str)
        and set(value) <= {"secret", "default"}
    )


def _inline(
    hints: Mapping[str, Any], settings: Mapping[str, Any], references: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Credentials that stand in the text: setting -> message and fix, which never repeat them."""
    problems = {}
    for name, value in settings.items():
        if value is None or not _mentions_secret(hints.get(name)):
            continue
        text = value.get("default") if name in references else value
        if text is None or (isinstance(text, str) and _allows_text(hints[name])):
            continue
        message = f"{name} is a secret and must not stand in the configuration"
        problems[name] = message, f"write {name}: {{secret: NAME}} and keep the value outside"
    return problems


def _resolved(hint: Any, reference: Mapping[str, Any], secrets: Secrets) -> Any:
    """What a reference stands for, as the type of its setting; a number is read from its text.

    ValueError(message, fix), without the value, when there is none or it does not fit.
    """
    name = reference["secret"]
    found = secrets(name) or None  # an empty variable is one that is not set
    if found is None and "default" not in reference:
        fix = f"set the environment variable {name}, or a file {name} in TOCSIN_SECRETS_DIR"
        raise ValueError(f"the secret {name} is not set", fix)
    value = reference["default"] if found is None else found
    if _mentions_secret(hint):
        return value if value is None else Secret(str(value))
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]["msg"]
        message = f"the value of {name} does not fit: {what[:1].lower()}{what[1:]}"
        raise ValueError(message, "") from None


def _mentions_secret(hint: Any) -> bool:
    return hint is Secret or any(_mentions_secret(part) for part in typing.get_args(hint))


def _allows_text(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, UnionType) and str in typing.get_args(hint)
