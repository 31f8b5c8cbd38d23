"""Documents made through the API: kept as YAML text, and in force together with those from files.

A configuration in force is what was applied from files plus what was made here, recorded as one
version (`config_version`), so that a running server adopts either in the same way and a replay sees
both. Files win: once a file defines a document of the same kind and name, the one made here is
retired, which is how it is moved to Git.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog

from tocsin.domain.errors import Conflict, NotFound, Problem, SpecError
from tocsin.domain.findings import LedgerEvent
from tocsin.spec.desired import Desired, key_of, restore
from tocsin.spec.diff import Key
from tocsin.spec.plan import make_plan
from tocsin.spec.yaml import Located, dump, parse
from tocsin.store.rows import ApiDocument
from tocsin.store.state import StateStore
from tocsin.store.transaction import Transaction

log = structlog.get_logger(__name__)

Data = dict[str, Any]
What = Literal["created", "updated", "unchanged"]

EVENT_KIND = "config.document"
_SOURCE = "made through the API: "  # where problems say that such a document stands


class NoSuchDocument(NotFound):
    """A document that is not in force; the text says which."""


@dataclass(frozen=True, slots=True)
class InForce:
    """One document of the configuration in force. made: how it came here, None from a file."""

    key: Key
    data: Data
    made: ApiDocument | None = None

    @property
    def text(self) -> str:
        """As YAML, to be put into a file."""
        return self.made.text if self.made else dump([self.data])


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a document that was put."""

    what: What
    document: InForce


def kept(state: StateStore) -> list[Located]:
    """The documents made through the API, to be joined with those of files."""
    found: list[Located] = []
    for document in state.api_documents():
        located, problems = parse(document.text, f"{_SOURCE}{_name(document)}")
        if problems:  # written by `dump`; only a damaged database gets here
            raise SpecError(problems)
        found += located
    return found


def in_force(state: StateStore, running: Desired | None = None) -> list[InForce]:
    """Every document of the newest version, or of `running` when none was recorded."""
    made = {_key(document): document for document in state.api_documents()}
    documents = _current(state, running)
    return [InForce(key_of(data), data, made.get(key_of(data))) for data in documents]


def desired_in_force(state: StateStore, running: Desired | None = None) -> Desired:
    """The newest version as one value, without secrets."""
    return restore(json.dumps(_current(state, running)))


def put(
    state: StateStore,
    documents: Sequence[Data],
    *,
    actor: str,
    now: datetime,
    running: Desired | None = None,
) -> list[Put]:
    """Put documents in force together, or none of them; what became of each, in order.

    Conflict for one that comes from a file. SpecError with everything that is wrong with the whole
    that they would make, including routing tests that fail. Equal content changes nothing.
    """
    with state.transaction() as tx:
        before = in_force(state, running)
        by_key = {document.key: document for document in before}
        results = [_put_one(by_key, data, actor, now) for data in documents]
        changed = [result for result in results if result.what != "unchanged"]
        if changed:
            after = {**by_key, **{result.document.key: result.document for result in changed}}
            desired = _checked(before, after.values())
            for result in changed:
                assert result.document.made is not None  # noqa: S101 (`_put_one` made it)
                tx.put_api_document(result.document.made)
            subjects = [result.document for result in changed]
            words = ", ".join(f"{r.what} {_title(r.document.key)}" for r in changed)
            _record(state, tx, desired, subjects, words, actor=actor, now=now)
    return results


def withdraw(
    state: StateStore, key: Key, *, actor: str, now: datetime, running: Desired | None = None
) -> None:
    """Take a document that was made through the API out of force.

    NoSuchDocument when there is none, Conflict when it comes from a file or others refer to it.
    """
    with state.transaction() as tx:
        before = in_force(state, running)
        found = next((document for document in before if document.key == key), None)
        if found is None:
            raise NoSuchDocument(f"there is no {_title(key)} in force")
        if found.made is None:
            raise Conflict(_from_a_file(key, "take it out there and run `tocsin apply`"))
        try:
            desired = _checked(before, (document for document in before if document.key != key))
        except SpecError as error:
            raise Conflict(f"{_title(key)} is still needed: {error}") from None
        tx.delete_api_document(*key)
        words = f"withdrew {_title(key)}"
        _record(state, tx, desired, [found], words, actor=actor, now=now)


def superseded(state: StateStore, desired: Desired) -> list[ApiDocument]:
    """Documents made through the API that `desired` has from a file."""
    from_files = {
        key_of(document.located.data)
        for document in desired.documents
        if not document.located.file.startswith(_SOURCE)
    }
    return [document for document in state.api_documents() if _key(document) in from_files]


def retire(tx: Transaction, document: ApiDocument, *, actor: str, now: datetime) -> None:
    """Forget a document made through the API, because a file defines it now."""
    tx.delete_api_document(*_key(document))
    words = f"{_name(document)} is defined by a file now; what was made through the API is retired"
    data = {"document": document.text}
    tx.append(LedgerEvent(now, EVENT_KIND, actor, _name(document), words, data))
    log.info("document_retired", document=_name(document))


# --------------------------------------------------------------------------------------------


def _put_one(by_key: Mapping[Key, InForce], data: Data, actor: str, now: datetime) -> Put:
    key = key_of(data)
    held = by_key.get(key)
    if held is not None and held.made is None:
        if held.data == data:
            return Put("unchanged", held)
        raise Conflict(_from_a_file(key, "change it there, or choose another name"))
    if held is not None and held.data == data:
        return Put("unchanged", held)
    made = held.made if held else None
    document = ApiDocument(
        *key,
        text=dump([data]),
        created_at=made.created_at if made else now,
        created_by=made.created_by if made else actor,
        updated_at=now,
        updated_by=actor,
    )
    return Put("updated" if held else "created", InForce(key, data, document))


def _current(state: StateStore, running: Desired | None) -> list[Data]:
    versions = state.config_versions(1)
    if versions:
        found: list[Data] = json.loads(versions[0]["body"]["text"])
        return found
    return [] if running is None else json.loads(running.text)


def _checked(before: Sequence[InForce], after: Iterable[InForce]) -> Desired:
    """`after` as a configuration that `tocsin apply` would take as well."""
    desired = restore(_joined(after))
    plan = make_plan(restore(_joined(before)), desired)
    if not plan.is_applicable:
        told = [f"routing test {test.name!r}: {test.reason}" for test in plan.tests
                if not test.passed]  # fmt: skip
        told += [str(finding) for finding in plan.findings if finding.is_error]
        raise SpecError([Problem("the configuration in force", 0, "", words) for words in told])
    return desired


def _joined(documents: Iterable[InForce]) -> str:
    try:
        return json.dumps([document.data for document in documents], allow_nan=False)
    except ValueError:
        raise SpecError(
            [Problem("the document", 0, "", "holds a number that is not finite")]
        ) from None


def _record(
    state: StateStore,
    tx: Transaction,
    desired: Desired,
    subjects: Sequence[InForce],
    words: str,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Keep the new version, and say in the ledger who made which document what."""
    state.record_config(desired.digest, {"text": desired.text}, actor=actor, now=now, reason=words)
    for document in subjects:
        tx.append(
            LedgerEvent(
                at=now,
                kind=EVENT_KIND,
                actor=actor,
                subject=_title(document.key),
                reason=words,
                data={"digest": desired.digest, "document": document.text},
            )
        )


def _key(document: ApiDocument) -> Key:
    return document.api_version, document.kind, document.name


def _name(document: ApiDocument) -> str:
    return f"{document.kind}/{document.name}"


def _title(key: Key) -> str:
    return f"{key[1]}/{key[2]}"


def _from_a_file(key: Key, fix: str) -> str:
    return (
        f"{_title(key)} belongs to the configuration that was applied from files, which are text in"
        f" Git; {fix}"
    )
