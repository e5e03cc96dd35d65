"""State-space layers, one per file, with a common contract."""

from s5forecast.ssm.base import (
    GENERIC_ARGUMENTS,
    State,
    StateSpaceLayer,
    StepMatrices,
    flatten_state,
    map_state,
    restore_state,
)
from s5forecast.ssm.diagonal import DiagonalLayer
from s5forecast.ssm.initialization import INITIALIZATIONS
from s5forecast.ssm.layers import LAYERS, layer_arguments
from s5forecast.ssm.s5 import S5

__all__ = [
    "GENERIC_ARGUMENTS",
    "INITIALIZATIONS",
    "LAYERS",
    "S5",
    "DiagonalLayer",
    "State",
    "StateSpaceLayer",
    "StepMatrices",
    "flatten_state",
    "layer_arguments",
    "map_state",
    "restore_state",
]
