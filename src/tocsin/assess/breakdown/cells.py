"""Counts by every combination of dimension values, and every slice that can be made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

# A slice: "model = a and region = eu". One value of each dimension that it names, in their order.
Where = tuple[tuple[str, str], ...]

MOST_DIMENSIONS = 3  # a page that names four conditions explains nothing
# A cuboid with this many slices a cell is numbered anew, so that memory follows the cells.
_SPARSE = 4


@dataclass(frozen=True)
class Cells:
    """The finest slices: each combination of dimension values that occurs.

    names: of the dimensions. codes: one array of [cell] per dimension, places in `values`.
    """

    names: tuple[str, ...]
    codes: tuple[Places, ...]
    values: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, dimensions: Mapping[str, Sequence[str]]) -> Cells:
        """From columns of equal length, one value a cell. ValueError when they differ in length.

        >>> cells = Cells.of({"model": ["a", "b", "a"], "region": ["eu", "eu", "us"]})
        >>> cells.values
        (('a', 'b'), ('eu', 'us'))
        """
        if len({len(column) for column in dimensions.values()}) > 1:
            raise ValueError("every dimension needs one value for each cell")
        coded = []
        for column in dimensions.values():
            at: dict[str, int] = {}
            places = [at.setdefault(value, len(at)) for value in column]
            coded.append((np.array(places, np.intp), tuple(at)))
        return cls(tuple(dimensions), tuple(c for c, _ in coded), tuple(v for _, v in coded))

    def __len__(self) -> int:
        return len(self.codes[0]) if self.codes else 0

    def members(self, where: Where) -> npt.NDArray[np.bool_]:
        """Which cells are in a slice."""
        mine = np.ones(len(self), np.bool_)
        for name, value in where:
            at = self.names.index(name)
            mine &= self.codes[at] == self.values[at].index(value)
        return mine

    def cuboids(self, most: int = MOST_DIMENSIONS) -> Iterator[Cuboid]:
        """Every choice of one to `most` dimensions that can tell cells apart, the coarse first."""
        telling = [at for at, values in enumerate(self.values) if len(values) > 1]
        for count in range(1, min(most, len(telling)) + 1):
            for chosen in combinations(telling, count):
                yield self._cuboid(chosen)

    def _cuboid(self, chosen: tuple[int, ...]) -> Cuboid:
        key = np.zeros(len(self), np.intp)
        size = 1
        for at in chosen:
            key = key * len(self.values[at]) + self.codes[at]
            size *= len(self.values[at])
            if size > _SPARSE * len(self):
                found, key = np.unique(key, return_inverse=True)
                size = len(found)
        return Cuboid(self, chosen, key, size)


@dataclass(frozen=True, eq=False)
class Cuboid:
    """All slices over the same dimensions. slice_of: the slice of each cell, below `size`."""

    cells: Cells
    chosen: tuple[int, ...]
    slice_of: Places
    size: int

    def sums(self, amounts: Floats) -> Floats:
        """`amounts` [cell] added up by slice."""
        return np.bincount(self.slice_of, amounts, self.size).astype(np.float64, copy=False)

    def members(self, number: int) -> npt.NDArray[np.bool_]:
        """Which cells are in slice `number`."""
        return np.asarray(self.slice_of == number, dtype=np.bool_)

    def where(self, number: int) -> Where:
        """What slice `number`, which has cells, is called."""
        cell = int(np.argmax(self.slice_of == number))
        cells = self.cells
        return tuple((cells.names[a], cells.values[a][cells.codes[a][cell]]) for a in self.chosen)


def told(where: Where) -> str:
    """A slice in words: "model gpt-4o and region eu"."""
    return " and ".join(f"{name} {value}" for name, value in where)
