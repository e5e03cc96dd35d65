"""The recurrence and nothing else: the operators, their discretisations and their backends."""

from s5forecast.ops.discretization import DISCRETIZATIONS as DISCRETIZATIONS
from s5forecast.ops.mimo import fuses as fuses
from s5forecast.ops.mimo import mimo_scan as mimo_scan
from s5forecast.ops.scan import BACKENDS as BACKENDS
from s5forecast.ops.scan import linear_scan as linear_scan
from s5forecast.ops.scan import ssm_scan as ssm_scan
