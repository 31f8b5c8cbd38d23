"""A frame is told from a torn one, in every format, with and without a digest."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

from tocsin.store.frames import encode, scan
from tocsin.store.kinds import Format

DIGEST = bytes(range(16))
RECORDS: dict[Format, list[bytes]] = {
    "Protobuf": [b"\x0a\x03abc", b"\x0a\x04abcd\x12\x01z", b"\x0a\x80\x01" + b"x" * 128],
    "JSONEachRow": [b'{"a":1}\n{"a":2}\n', b'{"a":"}\\n"}', '{"a":"ü","_frame":"no"}\n'.encode()],
}
FORMATS = sorted(RECORDS)


def segment(form: Format, *, digest: bytes = DIGEST) -> bytes:
    return b"".join(b"".join(encode(form, [record], digest)) for record in RECORDS[form])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("digest", [b"", DIGEST], ids=["plain", "digest"])
def test_frames_are_found_again_with_their_digests(form: Format, digest: bytes) -> None:
    data = segment(form, digest=digest)
    for check in (True, False):
        frames = list(scan(form, data, check=check))
        assert [frame.whole for frame in frames] == [True] * 3
        assert [frame.digest for frame in frames] == [digest] * 3
        assert frames[0].start == 0
        assert frames[-1].stop == len(data)


@pytest.mark.parametrize("form", FORMATS)
def test_a_segment_cut_anywhere_keeps_exactly_the_frames_before_the_cut(form: Format) -> None:
    data = segment(form)
    ends = [frame.stop for frame in scan(form, data)]
    for cut in range(len(data)):
        frames = list(scan(form, data[:cut]))
        assert [f.stop for f in frames if f.whole] == [end for end in ends if end <= cut]
        torn = [f for f in frames if not f.whole]
        assert sum(f.stop - f.start for f in torn) == cut - max([0, *(e for e in ends if e <= cut)])


@pytest.mark.parametrize("form", FORMATS)
def test_every_flipped_byte_is_noticed(form: Format) -> None:
    data = bytearray(segment(form, digest=b""))
    for place in range(len(data)):
        data[place] ^= 0x10
        assert not all(frame.whole for frame in scan(form, data)), f"byte {place}"
        data[place] ^= 0x10


@pytest.mark.parametrize("form", FORMATS)
def test_a_tail_of_zeros_is_no_frame(form: Format) -> None:
    """What a file system may leave where it had grown the file but not written the data."""
    frames = list(scan(form, segment(form) + bytes(1000)))
    assert [frame.whole for frame in frames].count(True) == 3
    assert not frames[-1].whole


def test_chunks_of_a_record_are_not_copied() -> None:
    body = bytes(100_000)
    assert any(chunk is body for chunk in encode("Protobuf", [b"\x0a\x01a", body]))


def test_an_arrow_stream_without_its_end_is_torn() -> None:
    sink = io.BytesIO()
    table = pa.table({"x": np.arange(10)})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data = b"".join(encode("ArrowStream", [sink.getvalue()]))
    assert [frame.whole for frame in scan("ArrowStream", data)] == [True]
    assert [frame.whole for frame in scan("ArrowStream", data[:-1])] == [False]
    assert list(scan("ArrowStream", b"")) == []


@pytest.mark.parametrize(
    ("form", "record", "digest"),
    [
        ("JSONEachRow", b"[1]\n", b""),
        ("JSONEachRow", b"{}", b""),
        ("JSONEachRow", b"", b""),
        ("Protobuf", b"\x0a\x00", b"short"),
        ("ArrowStream", b"", DIGEST),
    ],
)
def test_a_record_that_its_format_cannot_hold_is_refused(
    form: Format, record: bytes, digest: bytes
) -> None:
    with pytest.raises(ValueError, match=r"digest|JSON"):
        encode(form, [record], digest)
