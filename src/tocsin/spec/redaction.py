"""The Redaction document: what is taken out of telemetry before it is stored, and for whom.

Without any such document every recogniser reads every text. A document replaces that for the
services and projects it names; one that names nobody replaces it for everybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from tocsin.domain.errors import Problem
from tocsin.domain.recognisers import BY_NAME, GROUPS, chosen
from tocsin.domain.redaction import EVERYBODY, FieldRule, Mode, Owner, Policy, derived_key
from tocsin.spec.explain import suggest
from tocsin.spec.plugins import SecretReference, Secrets
from tocsin.spec.services import Service
from tocsin.spec.shape import OneOrMany, Shape, Text
from tocsin.spec.yaml import Located
from tocsin.store.attributes import FIELDS
from tocsin.store.redaction import KEPT

COLUMNS = ("input", "output", "user_id", "session_id", "status_message", "name", "body", "comment")
MAPS = ("attributes.", "resource.", "dims.")

# Where instrumentations put what was asked and answered besides the attributes that become columns.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "input": (
        "llm.input_messages.", "llm.prompts.", "gen_ai.prompt.", "gen_ai.system_instructions",
    ),
    "output": (
        "llm.output_messages.", "llm.completions.", "gen_ai.completion.", "ai.response.object",
        "ai.response.toolCalls",
    ),
}  # fmt: skip
_FIELD_OF = {
    "input": "a_input", "output": "a_output", "user_id": "a_user", "session_id": "a_session",
}  # fmt: skip
_NAMES = ("all", *GROUPS, *BY_NAME)


def _check_recogniser(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in _NAMES:
            raise ValueError(f"there is no recogniser {name!r} ({suggest(name, _NAMES)})")
    return names


def _check_field(name: str) -> str:
    bare = name.removesuffix("*")
    if name in COLUMNS or (bare.startswith(MAPS) and "*" not in bare):
        return name
    known = ", ".join((*COLUMNS, *(f"{prefix}<name>" for prefix in MAPS)))
    raise ValueError(f"there is no field {name!r}; fields are {known}, where * may end a name")


_ONE = {"type": "string", "enum": list(_NAMES)}
Recognisers = Annotated[
    OneOrMany,
    AfterValidator(_check_recogniser),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE}]}),
]
Action = Literal["drop", "mask", "hash", "keep"]


class RedactedField(Shape):
    """What is done with one field, whatever is in it."""

    field: Annotated[
        Text,
        AfterValidator(_check_field),
        Field(
            description="`input`, `output`, `user_id`, `session_id`, `status_message`, `name`, "
            "`body` (log records), `comment` (scores), `attributes.<name>`, `resource.<name>`, "
            "`dims.<name>`; a name may end in `*`"
        ),
    ]
    action: Annotated[
        Action,
        Field(
            description="drop: it is not stored; mask: `[masked]` instead; hash: a stand-in that "
            "is the same for the same text (needs `salt`); keep: as it came, unread"
        ),
    ]


class RedactionShape(Shape):
    """What is taken out of telemetry before it is stored, and for which services and projects."""

    mode: Annotated[
        Mode,
        Field(
            description="store: before it reaches a table; strict: before it reaches the disk at "
            "all, at a price; off: stored as sent"
        ),
    ] = "store"
    recognisers: Annotated[
        Recognisers, Field(description="what is replaced wherever it is found: names, groups, all")
    ] = ("all",)
    exclude: Annotated[Recognisers, Field(description="names or groups to leave out again")] = ()
    services: Annotated[
        OneOrMany, Field(description="Service documents whose telemetry is meant")
    ] = ()
    projects: Annotated[OneOrMany, Field(description="projects whose telemetry is meant")] = ()
    fields: Annotated[
        tuple[RedactedField, ...], Field(description="rules for single fields; the first one holds")
    ] = ()
    salt: Annotated[
        SecretReference | None,
        Field(description="the key of `action: hash`; another salt gives other stand-ins"),
    ] = None

    def owners(self, known: Mapping[str, Service]) -> tuple[Owner, ...]:
        """Whose telemetry is meant; everybody's when nobody is named."""
        named = [known[name] for name in self.services if name in known]
        owners = [Owner(service.project, service.service_name) for service in named]
        owners += [Owner(project) for project in self.projects]
        return tuple(owners) or (EVERYBODY,)

    def build(
        self, name: str, known: Mapping[str, Service], located: Located, secrets: Secrets | None
    ) -> tuple[Policy, list[Problem]]:
        """The policy, with its key if there is a way to resolve the salt; and what is wrong."""
        left_out = {one.name for one in chosen(self.exclude)}
        key, problems = self._key(located, secrets)
        policy = Policy(
            name,
            owners=self.owners(known),
            mode=self.mode,
            recognisers=tuple(r for r in chosen(self.recognisers) if r.name not in left_out),
            rules=(*(rule for field in self.fields for rule in _rules(field)), *KEPT),
            key=key,
        )
        return policy, problems

    def _key(self, located: Located, secrets: Secrets | None) -> tuple[bytes, list[Problem]]:
        hashes = any(field.action == "hash" for field in self.fields)
        if hashes and self.salt is None:
            message = "hash needs a salt, or everybody could make the same stand-ins"
            fix = "add salt: {secret: NAME}"
            return b"", [located.problem(("spec", "fields"), message, fix)]
        name = str((self.salt or {}).get("secret", ""))
        if not hashes or secrets is None:
            return b"", []
        found = secrets(name)
        if not found:
            fix = f"set the environment variable {name}, or a file {name} in TOCSIN_SECRETS_DIR"
            return b"", [located.problem(("spec", "salt"), f"the secret {name} is not set", fix)]
        return derived_key(found), []


def _rules(rule: RedactedField) -> Iterator[FieldRule]:
    """A rule for a field, and for the attributes it is taken from."""
    bare, is_prefix = rule.field.removesuffix("*"), rule.field.endswith("*")
    yield FieldRule(bare, rule.action, is_prefix)
    if rule.field in _FIELD_OF:
        for rank in FIELDS[_FIELD_OF[rule.field]].ranks:
            yield from (FieldRule(f"attributes.{name}", rule.action) for name in rank)
    for prefix in _ALSO.get(rule.field, ()):
        yield FieldRule(f"attributes.{prefix}", rule.action, is_prefix=True)
