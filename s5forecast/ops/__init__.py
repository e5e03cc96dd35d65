"""Scans of diagonal state-space models: the operators, their discretizations and their backends."""

from s5forecast.ops.backends import BACKENDS as BACKENDS
from s5forecast.ops.backends import is_short as is_short
from s5forecast.ops.checks import fuses as fuses
from s5forecast.ops.discretization import DISCRETIZATIONS as DISCRETIZATIONS
from s5forecast.ops.operators import gated_attention as gated_attention
from s5forecast.ops.operators import linear_scan as linear_scan
from s5forecast.ops.operators import liquid_scan as liquid_scan
from s5forecast.ops.operators import mimo_scan as mimo_scan
from s5forecast.ops.operators import moving_averages as moving_averages
from s5forecast.ops.operators import ssm_scan as ssm_scan
