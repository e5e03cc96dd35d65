"""State-space layers, one per file, under one contract."""

from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.initialization import INITIALIZATIONS
from s5forecast.ssm.s5 import S5

LAYERS: dict[str, type[StateSpaceLayer]] = {"s5": S5}

__all__ = ["INITIALIZATIONS", "LAYERS", "S5", "StateSpaceLayer"]
