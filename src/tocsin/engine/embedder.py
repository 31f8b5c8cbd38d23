"""A model on this machine that turns texts into vectors. Nothing is downloaded, ever.

The model is a folder that somebody put there: `model.onnx` (or `onnx/model.onnx`) and
`tokenizer.json`, as sentence-transformers are exported. Its output is one vector a text
(`sentence_embedding`), or one a token, which are averaged over the tokens of the text; vectors have
length 1, so that centroids of them can be compared.

Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, for means over tokens.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.domain.errors import TocsinError
from tocsin.domain.ports import MinuteSource
from tocsin.domain.samples import EMBEDDED, Sample, Wish
from tocsin.domain.series import Change, MinuteBlock, Ratio, SeriesId

Vectors = npt.NDArray[np.float32]

MOST_TOKENS = 256
_AT_ONCE = 32
_REMEMBERED = 20_000  # texts: a sliding reference is nearly the same an hour later
MOST_TEXTS = 1000  # of a sample: a text takes some milliseconds


class NoModel(TocsinError):
    """There is no model to embed with; the text says what to do."""


class LocalModel:
    """One model, loaded. NoModel when a library or a file of it is missing."""

    def __init__(self, folder: Path) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError:
            raise NoModel(
                "texts are embedded by onnxruntime and tokenizers: pip install 'tocsin[embed]'"
            ) from None
        model = next((p for p in (folder / "model.onnx", folder / "onnx" / "model.onnx")
                      if p.is_file()), None)  # fmt: skip
        tokenizer = folder / "tokenizer.json"
        if model is None or not tokenizer.is_file():
            missing = "model.onnx" if model is None else "tokenizer.json"
            raise NoModel(
                f"{folder} has no {missing}: export the model there, for example by"
                " optimum-cli export onnx --model NAME FOLDER"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # judging goes on beside it
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # noqa: BLE001 (both raise types of their own)
            raise NoModel(f"{folder} cannot be loaded: {str(error)[:300]}") from None
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.enable_padding()
        self._inputs = {each.name for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = "sentence_embedding" if "sentence_embedding" in outputs else outputs[0]
        self._known: OrderedDict[bytes, Vectors] = OrderedDict()

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """[text, dimension] of length 1, or 0 for a text without tokens."""
        keys = [blake2b(text.encode(), digest_size=16).digest() for text in texts]
        fresh = {k: t for k, t in zip(keys, texts, strict=True) if k not in self._known}
        waiting = sorted(fresh, key=lambda key: len(fresh[key]))  # alike lengths, little padding
        for start in range(0, len(waiting), _AT_ONCE):
            batch = waiting[start : start + _AT_ONCE]
            found = self._run([fresh[key] for key in batch])
            self._known.update(zip(batch, found, strict=True))
        made = (
            np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, 0), np.float32)
        )
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return made

    def _run(self, texts: Sequence[str]) -> Vectors:
        coded = self._tokenizer.encode_batch(list(texts))
        told: dict[str, npt.NDArray[np.int64]] = {
            "input_ids": np.array([each.ids for each in coded], np.int64),
            "attention_mask": np.array([each.attention_mask for each in coded], np.int64),
            "token_type_ids": np.array([each.type_ids for each in coded], np.int64),
        }
        given = {name: told[name] for name in self._inputs & told.keys()}
        (found,) = self._session.run([self._output], given)
        vectors = np.asarray(found, np.float32)
        if vectors.ndim == 3:
            mask = told["attention_mask"][..., None].astype(np.float32)
            vectors = (vectors * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1.0)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


class Embedding:
    """A MinuteSource whose samples have vectors where a wish asks for embedded texts.

    folder: of the model, None where none is configured; it is loaded when it is first needed.
    """

    def __init__(self, inner: MinuteSource, folder: Path | None) -> None:
        self._inner = inner
        self._folder = folder
        self._model: LocalModel | None = None

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As the inner source's."""
        return self._inner.minutes(monitored, services, start, stop)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """As the inner source's."""
        return self._inner.changes(start, stop)

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """As the inner source's, texts embedded. NoModel where there is none to do it."""
        mine = [name for name in wish.features if name.startswith(EMBEDDED)]
        if not mine:
            return self._inner.sample(wish, start, stop)
        # Of both samples as many: a text that is left out would pass for one that is missing.
        fewer = replace(wish, most=min(wish.most, MOST_TEXTS))
        found = self._inner.sample(fewer, start, stop)
        if found is None:
            return None
        columns = {name: self._embedded(found.columns[name]) for name in mine}
        return replace(found, columns={**found.columns, **columns})

    def _embedded(self, texts: Sequence[Any]) -> tuple[Any, ...]:
        rows = [row for row, text in enumerate(texts) if text]
        vectors = self._loaded().vectors([said(str(texts[row])) for row in rows])
        made: list[Any] = [None] * len(texts)
        for row, vector in zip(rows, vectors.tolist(), strict=True):
            made[row] = tuple(vector)
        return tuple(made)

    def _loaded(self) -> LocalModel:
        if self._model is None:
            if self._folder is None:
                raise NoModel(
                    "embedding texts needs a model on this machine: set TOCSIN_EMBEDDING_MODEL to"
                    " its folder"
                )
            self._model = LocalModel(self._folder)
        return self._model


def said(text: str) -> str:
    """What was said last, of a conversation that is kept as a JSON array of messages; any other
    text as it is.

    >>> said('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]')
    'Hi'
    """
    try:
        messages = json.loads(text) if text.startswith("[") else None
    except ValueError:
        messages = None
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict):
        return text
    content = last.get("content") or last.get("parts")
    if isinstance(content, str):
        return content
    parts = [part for part in content or () if isinstance(part, dict)]
    texts = [part.get("text") or part.get("content") for part in parts]
    return "\n".join(each for each in texts if isinstance(each, str)) or text
