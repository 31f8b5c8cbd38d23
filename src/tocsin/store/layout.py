"""Where the rows of a table lie: all on one node, or in pieces on the shards of a cluster.

Everybody reads from and inserts into `tocsin.<table>`. On one node that table holds the rows; on a
cluster it is a Distributed table over `tocsin.<table>_local`, and what ClickHouse cannot do through
a Distributed table (DELETE, ALTER, TRUNCATE, views) goes to the pieces, on every node. Two small
tables are exceptions: every node holds a whole copy of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DATABASE = "tocsin"
COPIED = frozenset({"meta", "prices"})  # tables of which every node has all rows
_PLAIN = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Layout:
    """How tables are laid out.

    cluster: its name in `system.clusters`; "" is one node. is_replicated: False makes Distributed
    tables over plain ones of this node only, without ON CLUSTER: as much of a cluster as the
    embedded engine can execute.
    """

    cluster: str = ""
    is_replicated: bool = True

    @property
    def is_distributed(self) -> bool:
        """Whether rows lie in pieces."""
        return bool(self.cluster)

    @property
    def quoted(self) -> str:
        """The cluster as an SQL identifier."""
        return self.cluster if _PLAIN.fullmatch(self.cluster) else f"`{self.cluster}`"

    @property
    def everywhere(self) -> str:
        """SQL that sends a statement to every node; "" when there is one."""
        return f" ON CLUSTER {self.quoted}" if self.cluster and self.is_replicated else ""

    def piece(self, table: str) -> str:
        """The table that holds the rows of `table` on a node."""
        split = self.is_distributed and table not in COPIED
        return f"{DATABASE}.{table}_local" if split else f"{DATABASE}.{table}"

    def pieces(self, table: str) -> str:
        """What DELETE, ALTER, TRUNCATE and OPTIMIZE name: the pieces of `table` on every node."""
        return self.piece(table) + self.everywhere


ONE_NODE = Layout()
