"""A Gate from a file, without the rest of a configuration."""

from __future__ import annotations

from pathlib import Path

from tocsin.domain.errors import Problem, SpecError
from tocsin.spec.documents import decode, unlisted
from tocsin.spec.explain import suggest
from tocsin.spec.gates import GateShape
from tocsin.spec.yaml import read


def read_gate(path: Path, name: str = "") -> tuple[str, GateShape]:
    """Name and shape of the Gate under a file or directory. name: which, where there are several.

    SpecError with everything that is wrong with the Gates there, or when none is meant.
    """
    streams, problems = read([path])
    found: dict[str, GateShape] = {}
    for located in (one for stream in streams for one in unlisted(stream)):
        if not isinstance(located.data, dict) or located.data.get("kind") != "Gate":
            continue
        decoded = decode(located)
        problems += decoded.problems
        document = decoded.document
        if document is not None and isinstance(document.spec, GateShape):
            found[document.name] = document.spec
    if problems:
        raise SpecError(problems)
    if name in found or (not name and len(found) == 1):
        chosen = name or next(iter(found))
        return chosen, found[chosen]
    if not found:
        raise SpecError(
            [Problem(str(path), 0, "", "there is no Gate", "add a document of kind Gate")]
        )
    if name:
        raise SpecError(
            [Problem(str(path), 0, "", f"there is no Gate {name!r}", suggest(name, found))]
        )
    fix = f"name one: {', '.join(sorted(found))}"
    raise SpecError([Problem(str(path), 0, "", "there are several Gates", fix)])
