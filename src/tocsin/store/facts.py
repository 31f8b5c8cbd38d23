"""Single facts about a telemetry store, in its table `meta`, which is only ever added to."""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from tocsin.domain.clock import Clock
from tocsin.store.clickhouse import DATABASE, ClickHouse


class Facts:
    """Reads and writes facts. On a cluster every node has all of them, after a moment."""

    def __init__(self, engine: ClickHouse, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def number(self, name: str) -> float:
        """The highest number that a name was ever given, 0 when none.

        Not the latest: what is kept here only ever rises, and clocks of machines differ.
        """
        return max((float(value) for value in self.values(name)), default=0.0)

    def names(self, prefix: str) -> frozenset[str]:
        """Every name that starts with `prefix`."""
        rows = self._engine.rows(
            f"SELECT DISTINCT name FROM {DATABASE}.meta WHERE startsWith(name, {{prefix:String}})",
            {"prefix": prefix},
        )
        return frozenset(row[0] for row in rows)

    def values(self, name: str) -> list[str]:
        """Every value that a name was ever given, oldest first."""
        rows = self._engine.rows(
            f"SELECT value FROM {DATABASE}.meta WHERE name = {{name:String}} ORDER BY at, value",
            {"name": name},
        )
        return [row[0] for row in rows]

    def put(self, name: str, value: str) -> None:
        """Give a name one more value."""
        self._engine.execute(
            f"INSERT INTO {DATABASE}.meta (name, value, at)"
            " SELECT {name:String}, {value:String}, fromUnixTimestamp64Micro({at:Int64}, 'UTC')",
            {"name": name, "value": value, "at": int(self._clock.now().timestamp() * 1e6)},
        )

    def settle(self) -> None:
        """Wait until every reachable node knows every fact."""
        self._engine.catch_up("meta")
