"""`json_schema`: whether an answer is JSON that fits a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tocsin.domain.evaluation import Answer
from tocsin.intake.evaluator import OnItsOwn, Opinion, text_of

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.S)
_MOST_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class JsonSchemaConfig:
    """fits: JSON Schema of draft 2020-12; references beyond it are not fetched. fenced: the JSON
    may stand in a fenced block of its own.
    """

    fits: Mapping[str, Any]
    fenced: bool = True

    def __post_init__(self) -> None:
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(self.fits)
        except SchemaError as error:
            where = "/".join(map(str, error.absolute_path)) or "the schema"
            raise ValueError(f"fits: {where}: {error.message}") from None


class JsonSchemaCheck(OnItsOwn):
    """Assumes that whoever reads the answer wants nothing but the JSON. It says nothing about
    whether the values are true: a well-formed invention is valid.
    """

    Config: ClassVar[type[JsonSchemaConfig]] = JsonSchemaConfig

    def __init__(self, config: JsonSchemaConfig) -> None:
        # Here: it takes a while, and no command but the server needs it.
        from jsonschema import Draft202012Validator
        from referencing import Registry

        self.config = config
        nothing: Registry[Any] = Registry()
        self._validator = Draft202012Validator(dict(config.fits), registry=nothing)

    async def judge(self, answer: Answer) -> Opinion:
        """valid, invalid, or not json; the explanation names the first place that does not fit."""
        text = text_of(answer)
        fenced = _FENCED.match(text) if self.config.fenced else None
        try:
            value = json.loads((fenced[1] if fenced else text)[:_MOST_CHARS])
        except (ValueError, RecursionError) as error:
            return Opinion(0.0, "not json", str(error)[:200])
        fault = next(iter(sorted(self._validator.iter_errors(value), key=str)), None)
        if fault is None:
            return Opinion(1.0, "valid")
        where = "/".join(map(str, fault.absolute_path)) or "the whole"
        return Opinion(0.0, "invalid", f"{where}: {fault.validator} does not hold")
