"""Readers of window specifications saved before the number of features became a ``FeatureSpec``.

GluonTS imports the class that a saved predictor names and calls it with the saved fields. It accepts subclasses of
tuple with ``_fields`` and ``_make``, such as named tuples. Each class below has the fields of an earlier layout and
returns the current specification.
"""

from __future__ import annotations

from typing import Any

from s5forecast.data.spec import FeatureSpec, IrregularSpec, WindowSpec

# Numbers of features that earlier layouts had.
FLAT_FEATURES = (
    "num_feat_dynamic_real", "num_past_feat_dynamic_real", "num_feat_static_real", "num_feat_static_cat",
)  # fmt: skip


class FlatWindowSpec(tuple):
    """``WindowSpec`` with one field for each number of features."""

    _fields = (
        "freq", "context_length", "prediction_length", "lags", "scaling", *FLAT_FEATURES, "recursive",
        "target_dim", "substeps",
    )  # fmt: skip
    _make = WindowSpec._make

    def __new__(cls, *args: Any, **kwargs: Any) -> WindowSpec:  # type: ignore[misc]
        return WindowSpec(**_grouped(cls._fields, args, kwargs))


class FlatIrregularSpec(tuple):
    """``IrregularSpec`` with one field for each number of features."""

    _fields = (
        "target_dim", "context_length", "horizon", "prediction_length", "max_queries", "datetimes", "cycles",
        *FLAT_FEATURES,
    )  # fmt: skip
    _make = IrregularSpec._make

    def __new__(cls, *args: Any, **kwargs: Any) -> IrregularSpec:  # type: ignore[misc]
        return IrregularSpec(**_grouped(cls._fields, args, kwargs))


def _grouped(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The fields of an earlier layout, with the numbers of features combined into a ``FeatureSpec``."""
    fields = {**dict(zip(names, args, strict=False)), **kwargs}
    features = {name: fields.pop(name) for name in FLAT_FEATURES if name in fields}
    return {**fields, "features": FeatureSpec(**features)}
