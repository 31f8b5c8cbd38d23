"""Texts as vectors of their words, without a model: for drift of texts nobody embedded."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from tocsin.assess.drift.counts import Floats

WIDTH = 256
_WORD = re.compile(r"\w+")


def word_vectors(texts: Sequence[str], width: int = WIDTH) -> Floats:
    """[text, width]: words hashed to a signed place each, logarithmic counts, unit length.

    Two texts of the same words have the same vector; a text without words is 0. It knows words and
    not what they mean: another language is far away, a paraphrase as well.

    >>> vectors = word_vectors(["refund my order", "order: refund MY", "hola"])
    >>> round(float(vectors[0] @ vectors[1]), 3)
    1.0

    Paper: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """
    vectors = np.zeros((len(texts), width))
    for row, text in enumerate(texts):
        for word in _WORD.findall(text.lower()):
            code = zlib.crc32(word.encode())
            vectors[row, code % width] += 1.0 if code & 0x8000_0000 else -1.0
    vectors = np.sign(vectors) * np.log1p(np.abs(vectors))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=vectors, where=lengths > 0))
