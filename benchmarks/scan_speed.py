"""Does a scan cost more than moving its data? Each scan against ``torch.clone`` of the same bytes, float32.

    python benchmarks/scan_speed.py [--device cuda] [--backend triton]

Rows: the number of states B * T * N, the shape, and the kind of step: ``constant`` uses the same ``a`` at all steps,
``per-step`` reads one ``a`` per step, and ``dt`` discretizes each step by zero-order hold in the same pass. Columns:
milliseconds of the copy; the time of the forward scan, of the backward scan and of both as multiples of the copy; the
bytes that the copy and the scans must move, each number read or written once; and the bytes moved per second.
"""

from __future__ import annotations

import argparse

import torch
from timing import medians, save

from s5forecast.ops import linear_scan, ssm_scan

N = 32
NUMBERS = {"constant": (2, 3), "per-step": (3, 5), "dt": (2, 4)}  # forward and backward, complex, of each state
SHAPES = [(2, 2**14), (32, 2**10), (8, 2**14), (32, 2**12), (64, 2**13), (1, 2**19)]


def inputs(batch: int, steps: int, device: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    angle = torch.rand(N) * 3
    return {
        "a": (0.98 * torch.stack([angle.cos(), angle.sin()])).to(device),
        "b": torch.randn(batch, steps, 2, N, device=device),
        "Lambda": torch.stack([-torch.rand(N) - 0.1, 10 * torch.rand(N)]).to(device),
        "step": torch.full((N,), 0.05, device=device),
        "dt": torch.rand(batch, steps, device=device) + 0.5,
    }


def scans(x: dict[str, torch.Tensor], backend: str) -> dict[str, object]:
    per_step = x["a"].expand_as(x["b"]).contiguous()
    return {
        "constant": (lambda a, b: linear_scan(a, b, backend=backend), (x["a"], x["b"])),
        "per-step": (lambda a, b: linear_scan(a, b, backend=backend), (per_step, x["b"])),
        "dt": (
            lambda Lambda, step, dt, b: ssm_scan(Lambda, step, dt, b, backend=backend),
            (x["Lambda"], x["step"], x["dt"], x["b"]),
        ),
    }


def measure(batch: int, steps: int, device: str, backend: str) -> list[dict]:
    x, rows = inputs(batch, steps, device), []
    for kind, (scan, arguments) in scans(x, backend).items():
        leaves = [argument.clone().requires_grad_() for argument in arguments]
        grad = torch.randn_like(x["b"])

        result = scan(*leaves)

        def backward(result=result, leaves=leaves, grad=grad):
            torch.autograd.grad(result, leaves, grad, retain_graph=True)

        def both(scan=scan, leaves=leaves, grad=grad):
            torch.autograd.grad(scan(*leaves), leaves, grad)

        times = medians(
            {
                "copy": x["b"].clone,
                "forward": lambda scan=scan, arguments=arguments: scan(*arguments),
                "backward": backward,
                "both": both,
            },
            seconds=2.0,
        )
        state = 8 * batch * steps * N
        forward, gradient = (count * state for count in NUMBERS[kind])
        rows.append(
            {
                "states": f"2^{(batch * steps * N).bit_length() - 1}",
                "shape": f"{batch} x {steps} x {N}",
                "step": kind,
                "copy_ms": times["copy"],
                "forward_over_copy": times["forward"] / times["copy"],
                "backward_over_copy": times["backward"] / times["copy"],
                "forward_backward_over_copy": times["both"] / times["copy"],
                "forward_MB": forward / 1e6,
                "backward_MB": gradient / 1e6,
                "copy_GB_per_s": 2 * state / times["copy"] / 1e6,
                "forward_GB_per_s": forward / times["forward"] / 1e6,
                "backward_GB_per_s": gradient / times["backward"] / 1e6,
            }
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    given = parser.parse_args()
    shapes = SHAPES if given.device == "cpu" else [(256, 2**12), (64, 2**14), (1, 2**20)]
    rows = [row for batch, steps in shapes for row in measure(batch, steps, given.device, given.backend)]
    save(rows, f"scan_speed_{given.device}")
