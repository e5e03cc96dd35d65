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
from s5forecast.ssm.channel_initialization import CHANNEL_INITIALIZATIONS
from s5forecast.ssm.diagonal import DiagonalLayer
from s5forecast.ssm.dss import DSS
from s5forecast.ssm.dss_softmax import DSSSoftmax
from s5forecast.ssm.initialization import INITIALIZATIONS
from s5forecast.ssm.layers import LAYERS, layer_arguments
from s5forecast.ssm.liquid_s4 import LiquidS4
from s5forecast.ssm.low_rank_initialization import LOW_RANK_INITIALIZATIONS
from s5forecast.ssm.lru import LRU
from s5forecast.ssm.mega import Mega
from s5forecast.ssm.s4 import S4
from s5forecast.ssm.s4d import S4D
from s5forecast.ssm.s5 import S5

__all__ = [
    "CHANNEL_INITIALIZATIONS",
    "DSS",
    "GENERIC_ARGUMENTS",
    "INITIALIZATIONS",
    "LAYERS",
    "LOW_RANK_INITIALIZATIONS",
    "LRU",
    "S4",
    "S4D",
    "S5",
    "DSSSoftmax",
    "DiagonalLayer",
    "LiquidS4",
    "Mega",
    "State",
    "StateSpaceLayer",
    "StepMatrices",
    "flatten_state",
    "layer_arguments",
    "map_state",
    "restore_state",
]
