"""The logistic function and the exponential for the kernels; loops over float32 vectorize, unlike those of libm."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from s5forecast.ops.cpu.discretization import (
    EXP_32,
    INLINED,
    LN2_HIGH,
    LN2_LOW,
    LOG2E,
    ONE,
    ONE_BITS,
    ROUND_32,
    ROUND_BITS,
)

LEAST, MOST = np.float32(-87.3), np.float32(88.3)  # the power of two is a normal number


def exp(x: Any) -> Any:
    """`exp(x)`; in float32 between 1e-38 and 2e38."""
    raise NotImplementedError


@overload(exp, jit_options=INLINED)
def _(x: Any) -> Any:
    return _exp_32 if x == types.float32 else _exp_64


def _exp_64(x: Any) -> Any:
    return np.exp(x)


def _exp_32(x: Any) -> Any:
    x = LEAST if x < LEAST else x
    x = MOST if x > MOST else x  # in this order NaN propagates
    shifted = x * LOG2E + ROUND_32
    whole = shifted - ROUND_32
    r = x - whole * LN2_HIGH - whole * LN2_LOW
    exponent = np.float32(shifted).view(np.int32) - ROUND_BITS
    power = np.int32((exponent << np.int32(23)) + ONE_BITS).view(np.float32)
    c5, c4, c3, c2, c1, c0 = EXP_32
    q = ((((c5 * r + c4) * r + c3) * r + c2) * r + c1) * r + c0
    return (r + r * r * q) * power + power


def sigmoid(x: Any) -> Any:
    """`1 / (1 + exp(-x))`."""
    raise NotImplementedError


@overload(sigmoid, jit_options=INLINED)
def _(x: Any) -> Any:
    return _sigmoid_32 if x == types.float32 else _sigmoid_64


def _sigmoid_32(x: Any) -> Any:
    return ONE / (ONE + exp(-x))


def _sigmoid_64(x: Any) -> Any:
    return 1.0 / (1.0 + exp(-x))
