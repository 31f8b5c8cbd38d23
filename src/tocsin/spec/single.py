"""One document of one kind from a file or a directory, without the rest of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tocsin.domain.errors import Problem, SpecError
from tocsin.spec.documents import Document, decode, unlisted
from tocsin.spec.explain import suggest
from tocsin.spec.yaml import Located, read


def only(
    path: Path, kind: str, name: str = "", *, called: str = "", choose: str = "name one",
    seen: Callable[[Located], Located] = lambda located: located,
) -> Document:  # fmt: skip
    """The document of `kind` under `path`. name: which one, where there are several.

    called, choose: what people call the kind, and how they choose one, for messages. seen: turns
    what stands for a document into one. SpecError with everything that is wrong with documents of
    the kind, or when none is meant.
    """
    streams, problems = read([path])
    found: dict[str, Document] = {}
    for located in (seen(one) for stream in streams for one in unlisted(stream)):
        if not isinstance(located.data, dict) or located.data.get("kind") != kind:
            continue
        decoded = decode(located)
        problems += decoded.problems
        if decoded.document is not None:
            found[decoded.document.name] = decoded.document
    if problems:
        raise SpecError(problems)
    if name in found or (not name and len(found) == 1):
        return found[name or next(iter(found))]
    called = called or kind
    if not found:
        where = "directory" if path.is_dir() else "file"
        said, fix = f"there is no {called} in this {where}", f"add a document of kind {kind}"
    elif name:
        said, fix = f"there is no {called} {name!r}", suggest(name, found)
    else:
        said, fix = f"there are several {called}s", f"{choose}: {', '.join(sorted(found))}"
    raise SpecError([Problem(str(path), 0, "", said, fix)])
