"""Fingerprints: short hashes that identify a model or a data set by its contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.predictor import Predictor

from s5forecast.data.mapped_table import MappedTable
from s5forecast.data.table import SeriesTable
from s5forecast.data.timestamps import exact_times

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(value: Any) -> str:
    """Hash of the contents in sixteen hexadecimal digits, equal across processes.

    The contents of an object are its class, its arguments as given by GluonTS's ``validated`` or scikit-learn's
    ``get_params``, the weights of a network, and the attributes of a GluonTS predictor without ``validated``. Other
    objects are identified by their ``repr``, so a change of their settings may go unnoticed.
    """
    return sha256(repr(_contents(value)).encode()).hexdigest()[:16]


def fingerprint_series(series: SeriesTable) -> str:
    """Hash of the contents of a table; that of a table on disk was computed when it was read."""
    if isinstance(series, MappedTable):
        return series.fingerprint
    arrays = [series.bounds, series.target, series.known, series.past]
    return fingerprint([series.items, exact_times(series.timestamps), *arrays, series.labels, series.static.to_numpy()])


def _contents(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return _contents(value.tolist())
        return value.shape, value.dtype.str, sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        rows = pd.util.hash_pandas_object(value, index=False)
        return _contents(list(getattr(value, "columns", []))), _contents(rows.to_numpy())
    if isinstance(value, Mapping):
        return [(str(name), _contents(one)) for name, one in value.items()]
    if isinstance(value, list | tuple):
        return [_contents(one) for one in value]
    if isinstance(value, type):
        return value.__qualname__
    if hasattr(value, "state_dict"):
        return repr(value), [(name, _contents(_array(one))) for name, one in value.state_dict().items()]
    arguments = _arguments(value)
    return ADDRESS.sub("", repr(value)) if arguments is None else (type(value).__qualname__, _contents(arguments))


def _arguments(value: Any) -> Mapping[str, Any] | None:
    if hasattr(value, "__init_args__"):
        found: Mapping[str, Any] = value.__init_args__
        return found
    if hasattr(value, "get_params"):
        return dict(value.get_params(deep=False))
    return vars(value) if isinstance(value, Predictor) else None


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor
