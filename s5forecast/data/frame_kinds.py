"""Data frames of any kind that narwhals reads, converted to pandas and back once, where they enter the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from typing import Any, TypeAlias, TypeVar, cast

import narwhals as nw
import numpy as np
import pandas as pd

from s5forecast.data.conversion import narwhals_frame, pandas_frame
from s5forecast.data.disk_data import DiskData, is_on_disk
from s5forecast.data.ray_data import RayData, is_ray

# A long frame: pandas, Polars, pyarrow.Table, or another kind that narwhals reads.
Frame: TypeAlias = Any
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class FrameKind:
    """Library of a frame and the dtypes of its columns, in which results are returned.

    Args:
        library: implementation that narwhals names; pandas if ``None``.
        dtypes: dtypes of narwhals by column.
    """

    library: Any = None
    dtypes: Mapping[str, Any] = field(default_factory=dict)

    def convert(self, frame: pd.DataFrame) -> Any:
        """A pandas frame as a frame of this kind, without its index; floats that are NaN are null.

        Columns that the first frame also had, such as those of series and times, have their dtypes again, except
        where numbers or times would be rounded.
        """
        if self.library is None:
            return frame
        columns = [self._column(str(name), values) for name, values in frame.items()]
        return nw.concat(columns, how="horizontal").to_native() if columns else frame

    def _column(self, name: str, values: pd.Series) -> nw.DataFrame[Any]:
        """A frame with one column."""
        zone = getattr(values.dtype, "tz", None)
        plain = values.dt.tz_convert(None) if zone is not None else values
        if pd.api.types.is_datetime64_any_dtype(plain.dtype) and plain.dt.unit == "s":
            plain = plain.dt.as_unit("ms")  # dates have seconds in pandas, which Polars does not
        column = nw.col(name)
        if zone is not None:
            column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone))
        elif pd.api.types.is_float_dtype(values.dtype) and values.hasnans:
            column = nw.when(~column.is_nan()).then(column)
        wanted = self.dtypes.get(name)
        if wanted is not None and _keeps(values, wanted):
            column = column.cast(wanted)
        return nw.from_dict({name: _array(plain)}, backend=self.library).select(column.alias(name))


PANDAS = FrameKind()


def to_pandas(data: Any) -> Any:
    """A frame of any kind as a pandas frame, which itself and other objects are returned unchanged."""
    found = narwhals_frame(data)
    return data if found is None else pandas_frame(found)


def read_kind(data: Any) -> tuple[Any, FrameKind | None]:
    """As :func:`to_pandas`, and the kind of the frame; ``None`` for another object. Lazy frames are collected once."""
    if isinstance(data, pd.DataFrame | pd.Series):
        return data, PANDAS
    found = narwhals_frame(data)
    if found is None:
        return data, None
    return pandas_frame(found), FrameKind(found.implementation, dict(found.schema))


def read_disk(data: Any) -> tuple[Any, FrameKind | None]:
    """As :func:`read_kind`, and also data on disk: a path, whose kind is pandas, or a dataset, whose kind is Arrow."""
    if not is_on_disk(data):
        return read_kind(data)
    found = DiskData.of(data)
    return found, PANDAS if found.from_path else arrow_kind(found.schema)


def read_ray(data: Any) -> tuple[Any, FrameKind | None]:
    """As :func:`read_kind` for a Ray dataset; tables of its results that are in memory are frames of pandas."""
    return RayData.of(data), PANDAS


def _refuse_ray(function: str, name: str, on_disk: Sequence[str]) -> Any:
    """Raise ValueError for a Ray dataset, with the fix."""
    fix = (
        "write it with dataset.write_parquet(path), and pass the path"
        if name in on_disk
        else "pass a frame, such as dataset.to_pandas()"
    )
    raise ValueError(f"{function}() does not take a Ray dataset as {name}; {fix}")


def arrow_kind(schema: Any = None) -> FrameKind:
    """The kind of Arrow tables; with a ``schema``, those with its types."""
    dtypes = {} if schema is None else dict(nw.from_native(schema.empty_table(), eager_only=True).schema)
    return FrameKind(nw.Implementation.PYARROW, dtypes)


def takes_frames(*names: str, on_disk: Sequence[str] = (), on_ray: Sequence[str] = ()) -> Callable[[F], F]:
    """Let a function of pandas frames take frames of any kind, and return the kind that it was given.

    The result has the kind of the first frame among the arguments. A method that is called without a frame returns
    the ``frame_kind_`` of its object. Results other than frames that have a method ``as_kind`` are converted by it.

    Args:
        names: names of the arguments that are frames, in the order in which they determine the kind of the result.
        on_disk: those among the names that may also be data on disk.
        on_ray: those among the names that may also be a Ray dataset.

    Raises:
        ValueError: by the function, for a Ray dataset that it does not take.
    """

    def decorate(function: F) -> F:
        parameters = signature(function)

        @wraps(function)
        def converted(*args: Any, **kwargs: Any) -> Any:
            bound = parameters.bind(*args, **kwargs)
            kinds = []
            for name in names:
                if bound.arguments.get(name) is not None:
                    given = bound.arguments[name]
                    if is_ray(given):
                        read: Any = read_ray if name in on_ray else _refuse_ray(function.__name__, name, on_disk)
                    else:
                        read = read_disk if name in on_disk else read_kind
                    bound.arguments[name], kind = read(given)
                    kinds += [] if kind is None else [kind]
            result = function(*bound.args, **bound.kwargs)
            kind = kinds[0] if kinds else getattr(args[0] if args else None, "frame_kind_", PANDAS)
            return _returned(result, kind)

        return cast(F, converted)

    return decorate


def _returned(result: Any, kind: FrameKind) -> Any:
    if isinstance(result, pd.DataFrame):
        return kind.convert(result)
    return result.as_kind(kind) if hasattr(result, "as_kind") else result


def _array(values: pd.Series) -> Any:
    """A column as an array of NumPy, or as a list of Python objects with ``None`` for missing ones."""
    if isinstance(values.dtype, np.dtype) and values.dtype != object:
        return values.to_numpy()
    objects = values.astype(object)
    return objects.where(objects.notna(), None).tolist()


def _keeps(values: pd.Series, wanted: Any) -> bool:
    """Whether a cast loses nothing: not a date with a time of day, nor a float that would be rounded."""
    if wanted == nw.Unknown:  # a column of Arrow without values may have no type
        return False
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return isinstance(wanted, nw.Datetime) or (wanted == nw.Date and bool((values == values.dt.normalize()).all()))
    return not pd.api.types.is_float_dtype(values.dtype) and not isinstance(wanted, nw.Datetime | nw.Date)
