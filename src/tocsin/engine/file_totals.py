"""What each key of a file of calls used in a stretch of time, as `store.totals` has it in SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from tocsin.domain.expressions import Field
from tocsin.domain.samples import Sample, Wish

Floats = npt.NDArray[np.float64]


def totals(
    field: Callable[[Field], Any],
    minute: npt.NDArray[np.int64],
    wish: Wish,
    stop: int,
    rows: npt.NDArray[np.int64],
) -> Sample:
    """Totals by key and stretch of the calls that `field` reads, the largest first.

    minute, rows: in which each call ended, and which row of the file it is.
    """
    keys = pc.fill_null(field(_key(wish.per)), "").to_numpy(zero_copy_only=False)
    known = np.flatnonzero(keys != "")
    stretch = (stop - 1 - minute[known]) // wish.window_minutes
    named, code = np.unique(keys[known].astype(str), return_inverse=True)
    groups, of, newest = _grouped(code, stretch)
    columns: dict[str, Floats] = {
        name: np.bincount(of, _amounts(field, name, len(minute))[known], len(groups)).astype(float)
        for name in wish.features
    }
    order = np.lexsort((named[groups[:, 0]], -columns[wish.features[0]]))[: wish.most]
    told: dict[str, tuple[Any, ...]] = {"key": tuple(named[groups[order, 0]].tolist())}
    told |= {name: tuple(values[order].tolist()) for name, values in columns.items()}
    calls = tuple(("row", str(rows[known[newest[group]]])) for group in order.tolist())
    return Sample(told, calls, len(groups))


def _grouped(
    code: npt.NDArray[np.intp], stretch: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Every pair of code and stretch that occurs, which of them each call is of, and the last call
    of each."""
    pairs = np.stack([code.astype(np.int64), stretch], axis=1)
    groups, of = np.unique(pairs, axis=0, return_inverse=True)
    newest = np.zeros(len(groups), np.intp)
    np.maximum.at(newest, of.ravel(), np.arange(len(code)))
    return groups, of.ravel(), newest


def _key(per: str) -> Field:
    prefix, _, name = per.partition(":")
    if prefix in ("dimension", "attribute"):
        return Field(f"{prefix}s", "text", name)
    return Field(prefix, "text")


def _amounts(field: Callable[[Field], Any], name: str, size: int) -> Floats:
    """What each call adds; what is unknown adds nothing."""
    if name == "calls":
        return np.ones(size)
    flags = {"errors": "error", "policy_violations": "policy_violation"}
    if name in flags:
        values = pc.cast(pc.fill_null(field(Field(flags[name], "truth")), False), "float64")
    else:
        values = pc.fill_null(field(Field(name, "number")), 0.0)
    found = np.asarray(pc.cast(values, "float64").to_numpy(zero_copy_only=False), np.float64)
    return np.nan_to_num(found)
