"""JSON Schema and reference pages of every kind, from the same definitions that validate it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.assess.detectors import DETECTORS
from tocsin.delivery.channels import CHANNELS
from tocsin.intake.evaluators import EVALUATORS
from tocsin.intake.sources import SOURCES
from tocsin.intake.webhooks import WEBHOOKS
from tocsin.spec.detectors import settings_schemas
from tocsin.spec.documents import KINDS, Kind, Metadata
from tocsin.spec.plugins import settings_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def document_schema(kind: Kind) -> Schema:
    """The schema of whole documents of one kind: envelope, metadata and spec."""
    prefix = f"{kind.api_version.replace('/', '.')}.{kind.name}"
    spec, definitions = _hoisted(kind.shape.model_json_schema, f"{prefix}.")
    if kind.name == "Detector":
        _add_detector_settings(spec, definitions)
    if kind.name == "Receiver":
        spec = _typed_spec(spec, definitions, "receiver", CHANNELS)
    if kind.name == "Source":
        spec = _typed_spec(spec, definitions, "source", SOURCES)
    if kind.name == "Webhook":
        spec = _typed_spec(spec, definitions, "webhook", WEBHOOKS)
    if kind.name == "Evaluator":
        run = f"{prefix}.RunShape"
        definitions[run] = _typed_spec(definitions[run], definitions, "evaluator", EVALUATORS)
    if kind.tolerant:
        _allow_unknown(spec)
        for definition in definitions.values():
            _allow_unknown(definition)
    metadata, more = _hoisted(Metadata.model_json_schema, f"{prefix}.")
    return {
        "$schema": DIALECT,
        "title": f"{kind.api_version} {kind.name}",
        "description": _first_paragraph(kind.shape),
        "type": "object",
        "properties": {
            "apiVersion": {"const": kind.api_version},
            "kind": {"const": kind.name},
            "metadata": metadata,
            "spec": spec,
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "$defs": {**definitions, **more},
    }


def schema() -> Schema:
    """One schema for any document, which an editor can be pointed at for every *.yaml file."""
    branches = []
    definitions: Schema = {}
    for kind in KINDS:
        whole = document_schema(kind)
        definitions |= whole.pop("$defs")
        whole.pop("$schema")
        definitions[f"{kind.api_version.replace('/', '.')}.{kind.name}"] = whole
        wanted = {"apiVersion": {"const": kind.api_version}, "kind": {"const": kind.name}}
        reference = f"#/$defs/{kind.api_version.replace('/', '.')}.{kind.name}"
        branches.append(
            {"if": {"properties": wanted, "required": [*wanted]}, "then": {"$ref": reference}}
        )
    return {
        "$schema": DIALECT,
        "title": "A document of Tocsin's configuration",
        "type": "object",
        "properties": {
            "apiVersion": {"enum": sorted({kind.api_version for kind in KINDS})},
            "kind": {"enum": sorted({kind.name for kind in KINDS})},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "allOf": branches,
        "$defs": definitions,
    }


def reference(kind: Kind) -> str:
    """A reference page in Markdown: what the kind is for, and a table per mapping in it."""
    whole = document_schema(kind)
    lines = [f"# {kind.name}", "", f"`apiVersion: {kind.api_version}`, `kind: {kind.name}`", ""]
    lines += [inspect.getdoc(kind.shape) or "", ""]
    if kind.tolerant:
        lines += ["Fields that are not listed are ignored with a warning.", ""]
    definitions = whole["$defs"]
    lines += _table("spec", kind.shape.model_json_schema(by_alias=True), definitions)
    own = kind.shape.model_json_schema(by_alias=True).get("$defs", {})
    for name, definition in own.items():
        if definition.get("type") == "object":
            lines += _table(_plain_name(name), definition, definitions)
    for name, settings in _plugin_settings(kind):
        lines += _table(name, settings, definitions)
    return "\n".join(lines).rstrip() + "\n"


def references() -> Mapping[str, str]:
    """File name -> reference page, one per kind."""
    names = [kind.name for kind in KINDS]
    found = {}
    for kind in KINDS:
        is_ambiguous = names.count(kind.name) > 1
        prefix = f"{kind.api_version.split('/')[0]}-" if is_ambiguous else ""
        found[f"{prefix}{kind.name.lower()}.md"] = reference(kind)
    return found


# --------------------------------------------------------------------------------------------


def _hoisted(generate: Any, prefix: str) -> tuple[Schema, Schema]:
    """A schema whose definitions are taken out, under names that start with `prefix`."""
    template = f"#/$defs/{prefix}{{model}}"
    found: Schema = generate(by_alias=True, ref_template=template)
    definitions = {f"{prefix}{name}": part for name, part in found.pop("$defs", {}).items()}
    return found, definitions


def _add_detector_settings(spec: Schema, definitions: Schema) -> None:
    branches = []
    for name, settings in settings_schemas().items():
        key = f"detector.{name}"
        definitions[key] = dict(settings)
        branches.append(
            {
                "if": {"properties": {"use": {"const": name}}, "required": ["use"]},
                "then": {"properties": {"with": {"$ref": f"#/$defs/{key}"}}},
            }
        )
    spec["allOf"] = branches


def _typed_spec(
    spec: Schema,
    definitions: Schema,
    prefix: str,
    plugins: Mapping[str, type[Any]],
) -> Schema:
    """One branch per type of a plugin."""
    branches: list[Schema] = []
    shared = {name: field for name, field in spec["properties"].items() if name != "type"}
    needed = [name for name in spec.get("required", []) if name != "type"]
    for name, plugin in plugins.items():
        needs_more = prefix == "source" and getattr(plugin, "needs_service", True)
        key = f"{prefix}.{name}"
        settings = settings_schema(plugin.Config, f"{key}.")
        own = settings.get("properties", {})
        settings["properties"] = {"type": {"const": name}, **shared, **own}
        own_needs = settings.get("required", [])
        settings["required"] = ["type", *needed, *(["service"] if needs_more else []), *own_needs]
        definitions |= {f"{key}.{n}": d for n, d in settings.pop("$defs", {}).items()}
        definitions[key] = settings
        branches.append({"$ref": f"#/$defs/{key}"})
    return {
        "type": "object",
        "description": spec.get("description", ""),
        "properties": {"type": spec["properties"]["type"], **shared},
        "required": ["type", *needed],
        "oneOf": branches,
    }


def _allow_unknown(part: Schema) -> None:
    if part.get("type") == "object":
        part.pop("additionalProperties", None)


def _first_paragraph(shape: type[Any]) -> str:
    return (inspect.getdoc(shape) or "").split("\n\n")[0].replace("\n", " ")


def _plugin_settings(kind: Kind) -> Iterator[tuple[str, Schema]]:
    if kind.name == "Detector":
        for name, settings in settings_schemas().items():
            yield f"with, for use: {name}", {**settings, "description": _about(DETECTORS[name])}
    typed: Mapping[str, Mapping[str, type[Any]]] = {
        "Receiver": CHANNELS,
        "Source": SOURCES,
        "Webhook": WEBHOOKS,
        "Evaluator": EVALUATORS,
    }
    for name, plugin in typed.get(kind.name, {}).items():
        settings = settings_schema(plugin.Config)
        yield f"settings of type: {name}", settings
        yield from settings.get("$defs", {}).items()


def _about(plugin: Any) -> str:
    return inspect.getdoc(plugin.config) or ""


def _table(title: str, part: Schema, definitions: Schema) -> list[str]:
    lines = [f"## {title}", ""]
    if title != "spec" and part.get("description"):
        lines += [str(part["description"]), ""]
    required = part.get("required", ())
    fields = part.get("properties", {})
    if not fields:
        return [*lines, "No fields of its own.", ""]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if name in required else _default(field)
        about = str(field.get("description", "")).replace("\n", " ").replace("|", "\\|")
        lines.append(f"| `{name}` | {_type(field, definitions)} | {default} | {about} |")
    return [*lines, ""]


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, dict):
        return "see below"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(field: Schema, definitions: Schema) -> str:
    if "$ref" in field:
        return _plain_name(field["$ref"].rsplit("/", 1)[-1].rsplit(".", 1)[-1])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{option}`" for option in field["enum"])
    if "anyOf" in field:
        options = [_type(option, definitions) for option in field["anyOf"]]
        return " or ".join(dict.fromkeys(o for o in options if o != "nothing"))
    if "secret" in field.get("properties", {}):
        return "`{secret: NAME}`"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), definitions)}"
    if "examples" in field:
        return f"such as `{field['examples'][0]}`"
    words = {
        "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
        "object": "mapping", "null": "nothing",
    }  # fmt: skip
    kinds = field.get("type", "anything")
    listed: list[str] = kinds if isinstance(kinds, list) else [kinds]
    return " or ".join(words.get(one, one) for one in listed)


def _plain_name(name: str) -> str:
    """ "EscalationStepShape" -> "EscalationStep"."""
    return name.removesuffix("Shape")
