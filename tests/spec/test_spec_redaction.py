"""Redaction documents: what is valid, what is wrong with the others, and whom they hold for."""

from __future__ import annotations

import pytest

from tocsin.domain.errors import SpecError
from tocsin.domain.recognisers import GROUPS
from tocsin.domain.redaction import derived_key
from tocsin.spec.desired import load_text
from tocsin.spec.lint import lint

SERVICE = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: support}
spec: {team: care, regulated: true}
---
"""


def document(spec: str, name: str = "r") -> str:
    return f"apiVersion: tocsin/v1\nkind: Redaction\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def problems(*specs: str) -> str:
    text = SERVICE + "---\n".join(document(spec, f"r{i}") for i, spec in enumerate(specs))
    with pytest.raises(SpecError) as caught:
        load_text(text)
    return str(caught.value)


def test_without_a_document_everything_is_recognised_for_everybody() -> None:
    policy = load_text(SERVICE).redactions.of("any", "support")
    assert policy.mode == "store"
    assert policy.treat("input", "to jane@example.com") == "to [email]"
    assert policy.treat("attributes.server.address", "203.0.113.7") == "203.0.113.7"


def test_a_document_holds_for_its_services_and_a_bare_one_for_the_rest() -> None:
    text = SERVICE + document("{services: [support], recognisers: [secret, email]}", "a")
    text += "---\n" + document("{projects: [lab], mode: 'off'}", "b")
    text += "---\n" + document("{exclude: [network]}", "c")
    found = load_text(text).redactions
    support = found.of("lab", "support")
    assert {one.name for one in support.recognisers} == {*GROUPS["secret"], "email"}
    assert found.of("lab", "other").mode == "off"
    assert found.of("", "other").treat("input", "203.0.113.7 a@b.example") == "203.0.113.7 [email]"


def test_a_field_rule_holds_for_every_attribute_the_field_is_taken_from() -> None:
    policy = load_text(document("{fields: [{field: input, action: drop}]}")).redactions.otherwise
    for name in ("input", "attributes.input.value", "attributes.llm.input_messages.0.message"):
        assert policy.treat(name, "secret") is None
    assert policy.treat("output", "secret") == "secret"


def test_the_key_of_a_hash_comes_from_its_salt() -> None:
    spec = "{fields: [{field: user_id, action: hash}], salt: {secret: SALT}}"
    found = load_text(document(spec), secrets={"SALT": "pepper"}.get).redactions.otherwise
    assert found.key == derived_key("pepper")
    assert load_text(document(spec)).redactions.otherwise.key == b""
    assert "pepper" not in repr(found)
    with pytest.raises(SpecError, match="the secret SALT is not set"):
        load_text(document(spec), secrets=lambda _: None)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (("{recognisers: [emial]}",), "did you mean 'email'"),
        (("{fields: [{field: prompt, action: drop}]}",), "there is no field 'prompt'"),
        (("{fields: [{field: input, action: hash}]}",), "add salt: {secret: NAME}"),
        (("{fields: [{field: input, action: burn}]}",), "burn"),
        (("{services: [suport]}",), "there is no Service 'suport'"),
        (("{}", "{mode: strict}"), "everybody else is redacted by Redaction/r0 already"),
        (("{services: [support]}", "{services: [support]}"), "keep one of them"),
        (("{salt: pepper}",), "salt"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_where_and_what_to_do(
    specs: tuple[str, ...], message: str
) -> None:
    assert message in problems(*specs)


def test_a_regulated_service_may_not_be_stored_as_sent() -> None:
    found = lint(load_text(SERVICE + document("{mode: 'off'}")))
    assert any(finding.rule == "regulated-unredacted" and finding.is_error for finding in found)
    assert not any(f.rule == "regulated-unredacted" for f in lint(load_text(SERVICE)))
