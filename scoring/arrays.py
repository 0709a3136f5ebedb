"""The few array habits that every formula shares."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]  # positions in something, of any width; -1 is none
Flags = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]


def published(value: Floats) -> Floats:
    """Kept to 0.1, halves upwards; the nudge sends up a half that arithmetic left at 0.0499999999 as well."""
    return np.floor(value * 10 + 0.5 + 1e-7) / 10


def numbers(column: pd.Series) -> Floats:
    """As floats; what is no finite number is NaN."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def positions(index: pd.Index, column: pd.Series) -> Codes:
    """Where each value of the column stands in a unique index; -1 where it does not."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        if column.cat.categories.equals(index):
            return column.cat.codes.to_numpy()
        of_category = np.append(index.get_indexer(column.cat.categories), -1)
        return of_category[column.cat.codes.to_numpy()].astype(np.int64)
    return index.get_indexer(pd.Index(column)).astype(np.int64)


def per_distinct(column: pd.Series, compute: Callable[[Any], Any], absent: Any) -> Objects:
    """compute(value) for each row, called once per distinct value; `absent` where the value is null."""
    codes, distinct = pd.factorize(column)
    results = np.empty(len(distinct) + 1, dtype=object)
    for position, value in enumerate(distinct.tolist()):
        results[position] = compute(value)
    results[-1] = absent
    found: Objects = results[codes]
    return found


def sums(group: Ints, values: Floats, groups: int) -> Floats:
    """The sum of the values of each group, added up in the order given."""
    return np.bincount(group, values, minlength=groups).astype(np.float64, copy=False)


def rank_in_group(group: Ints) -> Ints:
    """0, 1, 2 ... within each run of equal values."""
    if not len(group):
        return group
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    lengths = np.diff(np.append(starts, len(group)))
    return np.arange(len(group)) - np.repeat(starts, lengths)


def by_id(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """The frame in the order of its ids. Raises ValueError if an id is missing or twice there."""
    ids = pd.Index(frame[key])
    if ids.hasnans or not ids.is_unique:
        twice: list[Hashable] = ids[ids.duplicated()].unique()[:3].tolist()
        raise ValueError(f"{key} must be there and unique" + (f"; twice: {twice}" if twice else ""))
    if ids.is_monotonic_increasing:
        return frame.reset_index(drop=True)
    return frame.iloc[np.argsort(ids.to_numpy(dtype=object), kind="stable")].reset_index(drop=True)
