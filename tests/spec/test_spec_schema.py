"""JSON Schema and reference pages come from the definitions that validate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tocsin.assess.detectors import DETECTORS
from tocsin.delivery.channels import CHANNELS
from tocsin.spec.documents import KINDS, Kind
from tocsin.spec.schema import document_schema, reference, references, schema

IDS = [f"{kind.api_version}-{kind.name}" for kind in KINDS]


def dangling(part: Any, root: Any) -> list[str]:
    """References inside a schema that lead nowhere."""
    if isinstance(part, list):
        return [name for item in part for name in dangling(item, root)]
    if not isinstance(part, dict):
        return []
    found = [name for value in part.values() for name in dangling(value, root)]
    target = part.get("$ref")
    if isinstance(target, str) and target.removeprefix("#/$defs/") not in root["$defs"]:
        found.append(target)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_every_kind_has_a_schema_that_is_complete_in_itself(kind: Kind) -> None:
    found = document_schema(kind)
    json.dumps(found)
    assert found["properties"]["kind"] == {"const": kind.name}
    assert not dangling(found, found)


def test_one_schema_fits_every_document() -> None:
    found = schema()
    json.dumps(found)
    assert not dangling(found, found)
    assert len(found["allOf"]) == len(KINDS)


def test_fields_are_written_as_in_yaml() -> None:
    by_name = {(kind.api_version, kind.name): kind for kind in KINDS}
    service = document_schema(by_name["tocsin/v1", "Service"])["properties"]["spec"]
    assert {"displayName", "firstSteps", "riskTier"} <= set(service["properties"])
    assert service["additionalProperties"] is False
    slo = document_schema(by_name["openslo/v1", "SLO"])["properties"]["spec"]
    assert "additionalProperties" not in slo
    routing = document_schema(by_name["tocsin/v1", "Routing"])["$defs"]
    route = next(part for name, part in routing.items() if name.endswith("RouteShape"))
    assert {"if", "continue", "auto_resolve"} <= set(route["properties"])


def test_plugins_bring_their_own_settings() -> None:
    found = schema()["$defs"]
    assert {f"detector.{name}" for name in DETECTORS} <= set(found)
    assert {f"receiver.{name}" for name in CHANNELS} <= set(found)
    key = found["receiver.pagerduty"]["properties"]["routing_key"]
    assert key["required"] == ["secret"]


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_every_kind_has_a_reference_page_with_every_field(kind: Kind) -> None:
    page = reference(kind)
    assert page.startswith(f"# {kind.name}\n")
    for field in kind.shape.model_json_schema(by_alias=True)["properties"]:
        assert f"| `{field}` |" in page
    assert kind.shape.__doc__


def test_reference_pages_have_names_of_their_own() -> None:
    assert len(references()) == len(KINDS)
    assert "tocsin-service.md" in references()
