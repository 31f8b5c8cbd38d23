"""Arrow Flight over a real connection: streams of any length, and replies that count."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from intake_build import Bench, bench
from intake_doors import Addresses, serving
from pyarrow import flight

from tocsin.domain.errors import IntakeError
from tocsin.intake import flight as door
from tocsin.intake.credentials import admission

TOKEN = "a-token-of-sixteen-characters"
EVALUATIONS, METADATA = "writeSpanEvaluationRequest", "writeSpanAttributesMetadataRequest"


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Addresses]]:
    with bench(tmp_path_factory.mktemp("flight")) as made, serving(made) as addresses:
        yield made, addresses


def table(name: str, rows: int = 2, prefix: str = "span") -> pa.Table:
    return pa.table({
        "context.span_id": [f"{prefix}-{n}" for n in range(rows)],
        f"eval.{name}.score": [n / rows for n in range(rows)],
        f"eval.{name}.label": ["good"] * rows,
    })  # fmt: skip


def put(
    port: int,
    batches: Sequence[pa.RecordBatch],
    command: Any = EVALUATIONS,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """The reply to a DoPut of these batches."""
    asked = {command: {"externalModelId": "shop"}} if isinstance(command, str) else command
    descriptor = flight.FlightDescriptor.for_command(json.dumps(asked).encode())
    options = flight.FlightCallOptions(timeout=20, headers=list(headers))
    with flight.FlightClient(f"grpc://127.0.0.1:{port}") as client:
        writer, reader = client.do_put(descriptor, batches[0].schema, options=options)
        with writer:
            for batch in batches:
                writer.write_batch(batch)
            writer.done_writing()
            reply = reader.read()
    return b"" if reply is None else bytes(reply.to_pybytes())


def scores(made: Bench, name: str) -> list[dict[str, Any]]:
    return made.query(f"SELECT call_id, value FROM tocsin.scores WHERE name = '{name}'")


def test_evaluations_are_stored_and_counted(tocsin: tuple[Bench, Addresses]) -> None:
    made, addresses = tocsin
    assert put(addresses.flight, table("answered", 3).to_batches()) == b"\x08\x03"
    found = scores(made, "answered")
    assert {row["call_id"]: row["value"] for row in found} == {
        "span-0": 0.0, "span-1": 1 / 3, "span-2": 2 / 3,
    }  # fmt: skip


def test_metadata_counts_twice_as_its_reply_has_it(tocsin: tuple[Bench, Addresses]) -> None:
    made, addresses = tocsin
    patch = pa.table({"context.span_id": ["meta-1"], "patch_document": ['{"tier": "pro"}']})
    assert put(addresses.flight, patch.to_batches(), METADATA) == b"\x08\x01\x10\x01"
    found = made.query("SELECT comment FROM tocsin.scores WHERE call_id = 'meta-1'")
    assert found == [{"comment": '{"tier": "pro"}'}]


def test_a_long_stream_is_stored_in_pieces_and_a_retry_counts_once(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, addresses = tocsin
    monkeypatch.setattr(door, "_PIECE_BYTES", 4_000)
    batches = table("long", 1_000, "long").to_batches(max_chunksize=50)
    accepted = made.intake.counts["accepted.scores"]
    for _ in range(2):
        assert put(addresses.flight, batches) == b"\x08\xe8\x07"
    assert made.intake.counts["accepted.scores"] == accepted + 1_000
    assert len(scores(made, "long")) == 1_000


def test_a_batch_over_the_limit_is_refused_in_words(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, addresses = tocsin
    monkeypatch.setattr(type(made.intake.limits), "unpacked_bytes", 1_000)
    with pytest.raises(pa.ArrowInvalid, match="send smaller batches"):
        put(addresses.flight, table("large", 500).to_batches())
    assert scores(made, "large") == []


@pytest.mark.parametrize("command", [{}, [], "createDataset", {"postExperimentData": {}}])
def test_what_tocsin_does_not_take_is_refused_in_words(
    tocsin: tuple[Bench, Addresses], command: Any
) -> None:
    with pytest.raises(pa.ArrowInvalid, match=EVALUATIONS):
        put(tocsin[1].flight, table("never").to_batches(), command)


def test_a_table_without_known_columns_is_refused_in_words(
    tocsin: tuple[Bench, Addresses],
) -> None:
    with pytest.raises(pa.ArrowInvalid, match=r"context\.span_id"):
        put(tocsin[1].flight, pa.table({"a": [1]}).to_batches())


def test_when_nothing_can_be_taken_the_sender_may_try_again(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, addresses = tocsin

    class Full:
        async def append(self, *_: Any, **__: Any) -> bool:
            raise IntakeError(429, "slow down", retry_after_s=5)

    monkeypatch.setattr(made.intake, "_writer", Full())
    with pytest.raises(flight.FlightUnavailableError, match="slow down; try again in 5 s"):
        put(addresses.flight, table("full").to_batches())


def test_with_a_token_only_who_has_it_comes_in(tocsin: tuple[Bench, Addresses]) -> None:
    made = tocsin[0]
    batches = table("secured", 1).to_batches()
    with serving(made, admission(lambda token: token == TOKEN)) as addresses:
        for headers in ((), ((b"auth-token-bin", b"wrong"),)):
            with pytest.raises(flight.FlightUnauthenticatedError):
                put(addresses.flight, batches, headers=headers)
        for name in (b"auth-token-bin", b"authorization"):
            assert put(addresses.flight, batches, headers=[(name, TOKEN.encode())]) == b"\x08\x01"
    assert len(scores(made, "secured")) == 1
