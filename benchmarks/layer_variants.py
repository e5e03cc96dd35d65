"""The layers that ``layer_speed.py`` and ``memory.py`` compare, with 32 complex states each.

S4, S4D and S5 keep one of each conjugate pair, DSS and LRU do not. Liquid-S4 has 8 states, because it writes all states
of all channels.
"""

from __future__ import annotations

from s5forecast.ssm import DSS, LRU, S4, S4D, S5, DSSSoftmax, LiquidS4, Mega, StateSpaceLayer

H, P, N = 64, 64, 32
VARIANTS = {
    "S5": (S5, {"state_size": P}),
    "S5-PTD": (S5, {"state_size": P, "initialization": "hippo_ptd"}),
    "LRU": (LRU, {"state_size": N}),
    "S4D": (S4D, {"state_size": P}),
    "DSS": (DSS, {"state_size": N}),
    "DSS softmax": (DSSSoftmax, {"state_size": N}),
    "S4": (S4, {"state_size": P}),
    "Liquid-S4": (LiquidS4, {"state_size": 16}),
    "Mega-chunk": (Mega, {"chunk_size": 128}),
    "Mega": (Mega, {"chunk_size": None, "max_positions": 2048}),
}
LONGEST = {"Mega": 2048}  # full attention


def make(name: str) -> StateSpaceLayer:
    cls, arguments = VARIANTS[name]
    return cls(H, **arguments)


def names(steps: int) -> list[str]:
    """The layers that can be run on sequences of this length."""
    return [name for name in VARIANTS if steps <= LONGEST.get(name, steps)]
