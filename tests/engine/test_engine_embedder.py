"""Texts embedded by a model on this machine: a real one, of nine words, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tocsin.domain.samples import Sample, Wish
from tocsin.engine.embedder import MOST_TEXTS, Embedding, LocalModel, NoModel, said

WORDS = ("[PAD]", "[UNK]", "refund", "invoice", "money", "reset", "password", "login", "please")
# Words of one topic point the same way.
TABLE = np.array([[0, 0, 0], [0.1, 0.1, 0.1], [1, 0, 0], [0.9, 0.1, 0], [0.8, 0, 0.1],
                  [0, 1, 0], [0.1, 0.9, 0], [0, 0.8, 0.1], [0, 0, 0.2]], np.float32)  # fmt: skip


def number(field: int, value: int) -> bytes:
    """A varint of protobuf."""
    return varint(field << 3) + varint(value)


def held(field: int, value: bytes | str) -> bytes:
    """Bytes, text or a message of protobuf."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def tensor(name: str, kind: int, *dimensions: str | int) -> bytes:
    """onnx.ValueInfoProto."""
    dims = b"".join(held(1, number(1, d) if isinstance(d, int) else held(2, d)) for d in dimensions)
    return held(1, name) + held(2, held(1, number(1, kind) + held(2, dims)))


def onnx(table: np.ndarray) -> bytes:
    """A model of one node, which looks tokens up in a table (onnx.proto of ONNX 1.12)."""
    weights = b"".join(number(1, d) for d in table.shape) + number(2, 1) + held(8, "table")
    weights += held(9, table.astype("<f4").tobytes())
    node = held(1, "table") + held(1, "input_ids") + held(2, "last_hidden_state")
    node += held(4, "Gather")
    graph = held(1, node) + held(2, "words") + held(5, weights)
    graph += held(11, tensor("input_ids", 7, "batch", "tokens"))
    graph += held(12, tensor("last_hidden_state", 1, "batch", "tokens", table.shape[1]))
    return number(1, 8) + held(7, graph) + held(8, held(1, "") + number(2, 13))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra embed)")
    made = tmp_path / "model"
    made.mkdir()
    (made / "model.onnx").write_bytes(onnx(TABLE))
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }  # fmt: skip
    (made / "tokenizer.json").write_text(json.dumps(tokenizer))
    return made


def test_vectors_are_means_over_tokens_of_length_one(folder: Path) -> None:
    model = LocalModel(folder)
    texts = ["Refund please", "reset password", "reset password login please now"]
    found = model.vectors(texts)
    mean = (TABLE[2] + TABLE[8]) / 2
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    assert found[1] @ found[2] > 0.9 > 0.5 > found[0] @ found[1]
    np.testing.assert_array_equal(model.vectors(texts[::-1]), found[::-1])
    assert model.vectors([]).shape == (0, 0)


def test_samples_have_vectors_where_texts_were_and_unknown_stays_unknown(folder: Path) -> None:
    class Source:
        def sample(self, wish: Wish, start: int, stop: int) -> Sample:
            assert wish.most == MOST_TEXTS, "no text is left out of one sample and not of the other"
            texts = ("refund", None, "login")
            return Sample({"embedded:input": texts, "model": ("m",) * 3}, (("t", "s"),) * 3)

    wish = Wish("chat", ("embedded:input", "model"), "llm", 60, 60, 60, 5000)
    found = Embedding(Source(), folder).sample(wish, 0, 1)  # type: ignore[arg-type]
    assert found is not None
    assert found.columns["model"] == ("m", "m", "m")
    first, unknown, last = found.columns["embedded:input"]
    assert unknown is None
    assert np.allclose([first, last], [[1, 0, 0], TABLE[7] / np.linalg.norm(TABLE[7])])
    with pytest.raises(NoModel, match="set TOCSIN_EMBEDDING_MODEL"):
        Embedding(Source(), None).sample(wish, 0, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kept", "words"), [
    ("Hi", "Hi"), ("[not json", "[not json"), ("[]", "[]"),
    ('[{"role": "user", "content": "Hi"}]', "Hi"),
    ('[{"content": "x"}, {"parts": [{"type": "text", "content": "Hi"}]}]', "Hi"),
    ('[{"content": [{"type": "text", "text": "Hi"}, {"type": "image"}]}]', "Hi"),
])  # fmt: skip
def test_of_a_conversation_the_last_message_is_embedded(kept: str, words: str) -> None:
    assert said(kept) == words


def test_a_new_topic_in_a_file_is_found_by_meaning(folder: Path, tmp_path: Path) -> None:
    from tocsin.cli import app

    rng = np.random.default_rng(1)

    def write(name: str, topics: tuple[str, ...]) -> Path:
        rows = [{"prompt": f"please {rng.choice(topics)} id{n}"} for n in range(200)]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    money = ("refund money", "invoice money")
    before, same, other = (
        write("a.jsonl", money), write("b.jsonl", money),
        write("c.jsonl", ("reset password", "login password")),
    )  # fmt: skip
    for current, code in ((same, 0), (other, 2)):
        asked = ["drift", str(before), str(current), "--embed", str(folder), "--output", "json"]
        answer = CliRunner().invoke(app, asked)
        assert answer.exit_code == code, answer.output
        assert "prompt (meaning)" in [f["name"] for f in json.loads(answer.stdout)["features"]]


def test_what_is_missing_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(NoModel, match=r"pip install 'tocsin\[embed\]'"):
        LocalModel(tmp_path)


def test_a_folder_without_a_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoModel, match=r"has no model\.onnx"):
        LocalModel(tmp_path / "empty")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(NoModel, match="cannot be loaded"):
        LocalModel(folder)
