"""The GPU backend: Triton kernels of the scans. Importing it imports Triton."""

from s5forecast.ops.gpu.launch import linear_scan as linear_scan
from s5forecast.ops.gpu.launch import linear_scan_backward as linear_scan_backward
from s5forecast.ops.gpu.launch import ssm_scan as ssm_scan
from s5forecast.ops.gpu.launch import ssm_scan_backward as ssm_scan_backward
