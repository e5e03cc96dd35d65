"""How long does the first call of a layer take, before and after its kernels are cached?

    python benchmarks/compile_time.py

Each row is a new process, first with an empty cache directory and then with the filled one. ``compilation`` is the
processor time in Numba; the rest of the first call is the time in which torch and Numba are loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from timing import save

CASES = {"forward": (False, False), "training": (True, False), "irregular training": (True, True)}


def first_call(trains: bool, irregular: bool) -> dict[str, float]:
    """Processor and wall-clock time in seconds, and the processor time in the compiler."""
    import torch
    from numba.core import event

    from s5forecast.ssm import S5

    layer, u = S5(64, 64), torch.randn(8, 384, 64, requires_grad=trains)
    dt = torch.rand(8, 384) + 0.5 if irregular else None
    cpu, wall, inside, depth = time.process_time(), time.perf_counter(), 0.0, 0

    class Compilation(event.Listener):
        def on_start(self, _event: object) -> None:
            nonlocal depth, inside
            inside -= time.process_time() if depth == 0 else 0.0
            depth += 1

        def on_end(self, _event: object) -> None:
            nonlocal depth, inside
            depth -= 1
            inside += time.process_time() if depth == 0 else 0.0

    with event.install_listener("numba:compile", Compilation()), torch.set_grad_enabled(trains):
        y, _ = layer(u, dt=dt)
        if trains:
            y.sum().backward()
    return {
        "compilation_s": inside,
        "first_call_cpu_s": time.process_time() - cpu,
        "first_call_s": time.perf_counter() - wall,
    }


def main() -> None:
    rows = []
    for name in CASES:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty", "filled"):
                command = [sys.executable, __file__, name]
                environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
                out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
                rows.append({"first call": name, "cache": state, **json.loads(out)})
    save(rows, "compile_time")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(first_call(*CASES[sys.argv[1]])))
