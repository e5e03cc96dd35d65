"""The CPU backend: Numba kernels at memory speed on a thread pool. Importing it imports Numba."""

from s5forecast.ops.cpu.averages import moving_averages as moving_averages
from s5forecast.ops.cpu.averages import moving_averages_backward as moving_averages_backward
from s5forecast.ops.cpu.gated import gated_attention as gated_attention
from s5forecast.ops.cpu.gated import gated_attention_backward as gated_attention_backward
from s5forecast.ops.cpu.launch import linear_scan as linear_scan
from s5forecast.ops.cpu.launch import linear_scan_backward as linear_scan_backward
from s5forecast.ops.cpu.launch import ssm_scan as ssm_scan
from s5forecast.ops.cpu.launch import ssm_scan_backward as ssm_scan_backward
from s5forecast.ops.cpu.liquid import liquid_scan as liquid_scan
from s5forecast.ops.cpu.liquid import liquid_scan_backward as liquid_scan_backward
from s5forecast.ops.cpu.mimo import mimo_scan as mimo_scan
from s5forecast.ops.cpu.mimo import mimo_scan_backward as mimo_scan_backward
