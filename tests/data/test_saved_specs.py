"""Specifications saved in earlier layouts are read as current ones."""

import json

from gluonts.core import serde

from s5forecast.data.saved_specs import FlatIrregularSpec, FlatWindowSpec
from s5forecast.data.spec import FeatureSpec, IrregularSpec, WindowSpec

COUNTS = {
    "num_feat_dynamic_real": 1,
    "num_past_feat_dynamic_real": 2,
    "num_feat_static_real": 3,
    "num_feat_static_cat": 4,
}
REGULAR = {
    "freq": "h", "context_length": 24, "prediction_length": 4, "lags": [1, 24], "scaling": "last", "recursive": True,
    "target_dim": 3, "substeps": 2,
}  # fmt: skip
IRREGULAR = {
    "target_dim": 2, "context_length": 8, "horizon": 5.0, "prediction_length": None, "max_queries": 64,
    "datetimes": False, "cycles": ["day"],
}  # fmt: skip


def saved(reader, fields):
    """The JSON of a named tuple with these fields."""
    name = f"{reader.__module__}.{reader.__qualname__}"
    return json.dumps({"__kind__": "instance", "class": name, "kwargs": fields})


def test_numbers_of_features_are_gathered():
    features = FeatureSpec(1, 2, 3, 4)
    window = serde.load_json(saved(FlatWindowSpec, {**REGULAR, **COUNTS}))
    assert type(window) is WindowSpec and window == WindowSpec(**REGULAR, features=features)
    irregular = serde.load_json(saved(FlatIrregularSpec, {**IRREGULAR, **COUNTS}))
    assert type(irregular) is IrregularSpec and irregular == IrregularSpec(**IRREGULAR, features=features)


def test_defaults_and_positions_of_the_earlier_layout():
    assert FlatWindowSpec("h", 24, 4, [1]) == WindowSpec("h", 24, 4, [1])
    assert FlatWindowSpec("h", 24, 4, [1], "last", 1, 2, 3, 4, True, 3, 2)[4:] == (
        "last", FeatureSpec(1, 2, 3, 4), True, 3, 2, None
    )  # fmt: skip


def test_specifications_are_saved_with_their_features():
    spec = WindowSpec("h", 24, 4, [1], features=FeatureSpec(1, 0, 2, 0))
    assert serde.load_json(serde.dump_json(spec)) == spec
