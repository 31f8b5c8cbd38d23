"""What is done to the texts of telemetry before they are stored, and the same in Python.

A policy holds for some projects and services. It says which recognisers read every text, and what
is done with single fields whatever they hold. A field is named by where it is stored:

    input  output  user_id  session_id  status_message  name     columns of a call
    body   comment                                               a log record, a score
    attributes.<name>  resource.<name>  dims.<name>              entries of a map

`tocsin.store.redaction` prints a policy as SQL; `clean` and `Policy.treat` are the same in Python,
for what is redacted before it is written to the disk at all. Both are tested to agree.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

from tocsin.domain.recogniser import Recogniser, split
from tocsin.domain.recognisers import CANDIDATE_PAIRS, RECOGNISERS

Action = Literal["clean", "keep", "drop", "mask", "hash"]
Mode = Literal["store", "strict", "off"]

MASK = "[masked]"
HASH_MARK = "hmac:"
HASH_DIGITS = 32
_SHORTEST = 6  # no value is shorter: a@b.cd
_HASHED = len(HASH_MARK) + HASH_DIGITS


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What is done with one field, or with all whose names begin alike (`is_prefix`)."""

    field: str
    action: Action
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose telemetry: a project and a service.name, "" for any."""

    project: str = ""
    service: str = ""

    def owns(self, project: str, service: str) -> bool:
        """Whether telemetry of this project and service.name is meant."""
        return self.project in ("", project) and self.service in ("", service)


EVERYBODY = Owner()


@dataclass(frozen=True)
class Policy:
    """How the telemetry of `owners` is redacted.

    mode: store (before it reaches a table), strict (before it reaches the disk at all), off.
    rules: the first that names a field decides; a field without one is cleaned. key: of the hash
    (RFC 2104 with SHA-256), needed by rules that hash.
    """

    name: str
    owners: tuple[Owner, ...] = (EVERYBODY,)
    mode: Mode = "store"
    recognisers: tuple[Recogniser, ...] = RECOGNISERS
    rules: tuple[FieldRule, ...] = ()
    key: bytes = field(default=b"", repr=False)

    @cached_property
    def _exact(self) -> dict[str, Action]:
        found: dict[str, Action] = {}
        for rule in self.rules:
            if not rule.is_prefix:
                found.setdefault(rule.field, rule.action)
        return found

    @cached_property
    def _prefixes(self) -> tuple[FieldRule, ...]:
        return tuple(rule for rule in self.rules if rule.is_prefix)

    def action(self, name: str) -> Action:
        """What is done with a field. A rule with its full name goes before one for a prefix."""
        if name in self._exact:
            return self._exact[name]
        return next((r.action for r in self._prefixes if name.startswith(r.field)), "clean")

    def treat(self, name: str, text: str) -> str | None:
        """The text of a field as it may be kept; None for a field that is dropped."""
        action = "keep" if self.mode == "off" else self.action(name)
        if action == "drop":
            return None
        if action == "keep" or not text:
            return text
        if action == "mask":
            return MASK
        return hashed(text, self.key) if action == "hash" else clean(text, self.recognisers)


@dataclass(frozen=True)
class Redactions:
    """All policies of one configuration; whoever none of them names falls under `otherwise`."""

    policies: tuple[Policy, ...] = ()
    otherwise: Policy = Policy("default")

    @cached_property
    def claims(self) -> tuple[tuple[Owner, Policy], ...]:
        """Every owner with its policy, the most specific first: service, then project."""
        pairs = [(owner, policy) for policy in self.policies for owner in policy.owners]
        return tuple(sorted(pairs, key=lambda p: (not p[0].service, not p[0].project)))

    def of(self, project: str, service: str) -> Policy:
        """The policy for telemetry of this project and service.name."""
        found = (policy for owner, policy in self.claims if owner.owns(project, service))
        return next(found, self.otherwise)

    @property
    def is_strict_anywhere(self) -> bool:
        """Whether something has to be redacted before it is written to the disk."""
        return any(p.mode == "strict" for p in (*self.policies, self.otherwise))


def clean(text: str, recognisers: Sequence[Recogniser] = RECOGNISERS) -> str:
    """`text` with everything that a recogniser recognises replaced, e.g. by "[email]"."""
    if len(text) < _SHORTEST:
        return text
    spaced = f" {text}"
    digits = sum(map(text.count, "0123456789"))
    wanted = [recogniser for recogniser in recognisers if recogniser.occurs(spaced, digits)]
    for recogniser in wanted:
        if not recogniser.is_checked:
            spaced = recogniser.replaced(spaced)
    checked = [recogniser for recogniser in wanted if recogniser.is_checked]
    if checked:
        spaced = _CANDIDATE.sub(partial(_judged, recognisers=checked), spaced)
    return spaced[1:]


def hashed(text: str, key: bytes) -> str:
    """A stand-in for `text` that only who holds `key` can make; stable, and made only once."""
    if text.startswith(HASH_MARK) and len(text) == _HASHED:
        return text
    digest = hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    return HASH_MARK + digest[:HASH_DIGITS]


def derived_key(secret: str) -> bytes:
    """The key of the hash from an operator's secret, so that the secret itself goes nowhere."""
    return hmac.new(secret.encode(), b"tocsin redaction", hashlib.sha256).digest()


def _judged(match: re.Match[str], recognisers: Sequence[Recogniser]) -> str:
    lead, value = split(match)
    for recogniser in recognisers if value else ():
        if recogniser.accepts(lead, value):
            return lead + recogniser.replacement
    return match[0]


_CANDIDATE = re.compile(CANDIDATE_PAIRS, re.ASCII)
