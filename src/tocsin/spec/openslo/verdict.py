"""Accept or reject, the stage that decided, and the property paths that are at fault.

`strict` is the reference validator's verdict. `compat` is what Tocsin reads: the specification's
own examples do not all pass the reference, so what means the same either way is accepted and
noted. The notes are those of `strict`, and one the reference does not make: a condition that is
met while all is well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tocsin.spec.openslo.decoding import Struct, Undecodable, UnknownField
from tocsin.spec.openslo.rules import judge
from tocsin.spec.openslo.structures import DOCUMENTS, KIND, VERSION
from tocsin.spec.yaml import Place, spell

Stage = Literal["decode", "validate"]
Faulty = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reference validator would say. stage: where it was rejected, None when accepted.

    faults: property path -> what is wrong with it; empty for what did not decode, whose `reason`
    says why. notes: the same of what is accepted all the same.
    """

    stage: Stage | None = None
    faults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_accepted(self) -> bool:
        """Whether the document is valid OpenSLO."""
        return self.stage is None

    @property
    def paths(self) -> list[str]:
        """The property paths at fault, sorted."""
        return sorted(self.faults)


def strict(document: Any) -> Verdict:
    """The reference validator's verdict on one document (a JSON-like value)."""
    try:
        decoded = _structure(document).decode(document, ())
    except Undecodable as error:
        return Verdict("decode", reason=str(error))
    found = _judged(decoded)
    return Verdict("validate", found) if found else Verdict()


def compat(document: Any) -> Verdict:
    """What Tocsin makes of one document (a JSON-like value)."""
    try:
        decoded, unknown = _lenient(document)
    except Undecodable as error:
        return Verdict("decode", reason=str(error))
    found = _judged(decoded)
    notes: Faulty = {spell(place): ("is not a field and is ignored",) for place in unknown}
    notes |= {path: texts for path, texts in found.items() if _TOLERATED.search(path)}
    notes |= _always_met(decoded)
    faults = {path: texts for path, texts in found.items() if path not in notes}
    return Verdict("validate" if faults else None, faults, notes=notes)


# What says the same to Tocsin whether or not it is written as the reference wants it: the operator
# and value beside a ratio, a window that is not named, and how names, labels and texts are spelt.
_TOLERATED = re.compile(
    r"objectives\[[0-9]+\]\.(op|value)$|spec\.timeWindow$|metadata\.(name|displayName)$"
    r"|metadata\.(labels|annotations)[.\[]|\.description$"
)
_HEAD = Struct({"apiVersion": VERSION, "kind": KIND})


def _structure(document: Any) -> Struct:
    head = _HEAD.decode(_known(document), ())
    structure = DOCUMENTS.get((head["apiVersion"], head["kind"]))
    if structure is not None:
        return structure
    if head["apiVersion"]:
        raise Undecodable(("kind",), f"{head['kind']!r} does not exist in {head['apiVersion']}")
    raise Undecodable(("apiVersion",), "is missing")


def _lenient(document: Any) -> tuple[Any, list[Place]]:
    """The document decoded without the fields that nobody declared, and where those were."""
    unknown: list[Place] = []
    rest = document
    while True:
        try:
            return _structure(rest).decode(rest, ()), unknown
        except UnknownField as error:
            unknown.append(error.place)
            rest = _without(rest, error.place)


def _without(value: Any, place: Place) -> Any:
    first, *more = place
    if isinstance(value, list):
        return [_without(item, tuple(more)) if i == first else item for i, item in enumerate(value)]
    return {
        name: _without(member, tuple(more)) if name == first else member
        for name, member in value.items()
        if more or name != first
    }


def _judged(decoded: Any) -> Faulty:
    return {path: tuple(texts) for path, texts in judge(decoded).found.items()}


def _always_met(decoded: Any) -> Faulty:
    """The specification's own example says `lte 2` where it means that 2 is exceeded."""
    if decoded["kind"] != "AlertCondition":
        return {}
    condition = decoded["spec"]["condition"]
    if condition["op"] in ("lt", "lte") and (condition["threshold"] or 0) > 0:
        return {"spec.condition.op": ("is met while the budget does not burn; gt is meant",)}
    return {}


def _known(document: Any) -> Any:
    """The members that decide which structure the rest is read into."""
    if not isinstance(document, dict):
        return document
    return {k: v for k, v in document.items() if k.casefold() in {"apiversion", "kind"}}
