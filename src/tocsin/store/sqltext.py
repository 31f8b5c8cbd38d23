"""Building blocks of SQL text: literals, layers of named expressions, and small tables of words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_WORD = re.compile(r"(?<![.\w])[a-z_][a-z0-9_]*")


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def array(values: Sequence[str]) -> str:
    """An SQL array of string literals."""
    return "[" + ", ".join(quoted(value) for value in values) + "]"


def layer(columns: Mapping[str, str], source: str) -> str:
    """SELECT of named expressions FROM a table, a join, or a subquery that is put in brackets."""
    body = ",\n".join(
        f"  {name}" if sql == name else f"  {sql} AS {name}" for name, sql in columns.items()
    )
    inner = f"(\n{source}\n)" if source.lstrip().startswith("SELECT") else source
    return f"SELECT\n{body}\nFROM {inner}"


def same(*names: str) -> dict[str, str]:
    """Columns that a layer passes on as they are."""
    return {name: name for name in names}


def derived(
    source: str, given: Sequence[str], named: Mapping[str, str], wanted: Sequence[str]
) -> str:
    """SELECT the columns `wanted` from `source`, by way of named expressions.

    given: the columns of `source`. named: name -> expression over columns of the source and other
    names, in any order. Every name is a column of a subquery: an alias used beside its definition
    would be pasted in at every use, and the engine would plan for seconds. Because the engine plans
    every column of every layer, there are as few layers as the longest chain of names needs, a
    name is computed in the last layer that is early enough, and a column is passed on only as far
    as it is used.
    """
    uses = {name: _words(sql) & (set(named) | set(given)) for name, sql in named.items()}
    layers = _latest_layers(uses, wanted)
    depth = max(layers.values())
    known = set(given)
    for number in range(depth + 1):
        here = {name for name, at in layers.items() if at == number}
        later = {name for name, at in layers.items() if at > number}
        needed = set().union(*(uses[name] for name in later)) if later else set()
        passed = sorted(
            (needed | (set(wanted) if number == depth else set(wanted) - later)) & known
        )
        columns = {**same(*passed), **{name: named[name] for name in sorted(here)}}
        if number == depth:
            columns = {name: columns[name] for name in wanted}
        source = layer(columns, source)
        known |= here
    return source


def _words(sql: str) -> set[str]:
    return set(_WORD.findall(re.sub(r"'(?:[^'\\]|\\.)*'", "", sql)))


def _latest_layers(uses: Mapping[str, set[str]], wanted: Sequence[str]) -> dict[str, int]:
    """The layer of every name that `wanted` needs: the last one before its first use."""
    from_top: dict[str, int] = {}

    def reach(name: str, distance: int) -> None:
        if name in uses and from_top.get(name, -1) < distance:
            from_top[name] = distance
            for used in uses[name]:
                if used != name:
                    reach(used, distance + 1)

    for name in wanted:
        reach(name, 0)
    depth = max(from_top.values())
    return {name: depth - distance for name, distance in from_top.items()}


def first_known(*texts: str) -> str:
    """SQL: the first of `texts` that is not empty, else ''."""
    if len(texts) == 1:
        return texts[0]
    tests = ", ".join(f"{text} != '', {text}" for text in texts[:-1])
    return f"multiIf({tests}, {texts[-1]})"


def mapped(text: str, table: Mapping[str, Sequence[str]], default: str = "") -> str:
    """SQL: the key of `table` whose words hold `text`, else `default` (SQL), or `text` itself."""
    words = [word for known in table.values() for word in known]
    names = [name for name, known in table.items() for _ in known]
    otherwise = f", {default}" if default else ""
    return f"transform({text}, {array(words)}, {array(names)}{otherwise})"


def one_of(text: str, words: Sequence[str]) -> str:
    """SQL: `text` is one of `words`."""
    return f"{text} IN ({', '.join(map(quoted, words))})"
