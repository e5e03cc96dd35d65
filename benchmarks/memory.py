"""How much memory does training a layer take? Peak resident bytes per step, in addition to those of the process before.

    python benchmarks/memory.py

Every case runs in its own process, so that memory which one case leaves allocated does not hide what the next one
needs. Constant memory per step means that memory is linear in the length.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import torch
from layer_variants import VARIANTS, H, N, P, make, names
from timing import save

SHAPES = [(64, 384), (16, 2048), (4, 16384), (1, 65536)]
LAYERS = ("S5", "S5 irregular", "s5-pytorch", "s5-pytorch irregular")


def train(name: str, batch: int, steps: int) -> None:
    u = torch.randn(batch, steps, H, requires_grad=True)
    dt = torch.rand(batch, steps) + 0.5
    if name in VARIANTS and name != "S5":
        y, _ = make(name)(u)
    elif name.startswith("S5"):
        from s5forecast.ssm import S5

        y, _ = S5(H, P)(u, dt=dt if "irregular" in name else None)
    else:
        import s5

        y = s5.S5(H, N)(u, step_scale=dt if "irregular" in name else 1.0)
    y.sum().backward()


def peak(name: str, batch: int, steps: int) -> float:
    """Bytes per step in a process that trains once."""
    command = [sys.executable, __file__, name, str(batch), str(steps)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(out) / (batch * steps)


def main() -> None:
    rows = []
    for batch, steps in SHAPES:
        found = {name: peak(name, batch, steps) for name in LAYERS}
        rows.append(
            {
                "shape": f"{batch} x {steps} x {H}",
                **{f"{name}, bytes per step": value for name, value in found.items()},
                "S5 / s5-pytorch": found["S5"] / found["s5-pytorch"],
                "S5 irregular / regular": found["S5 irregular"] / found["S5"],
            }
        )
    save(rows, "memory")
    others = [
        {"shape": f"{batch} x {steps} x {H}", "layer": name, "bytes_per_step": peak(name, batch, steps)}
        for batch, steps in SHAPES
        for name in names(steps)
    ]
    save(others, "memory_layers")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        kind, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        train(kind, 2, 64)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        train(kind, batch, steps)
        print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
