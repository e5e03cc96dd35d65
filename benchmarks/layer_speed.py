"""How fast is an S5 layer compared with its peers, with irregular steps, on long sequences and one step at a time?

    python benchmarks/layer_speed.py [--device cuda] [--layers]

With ``--layers``: how fast is each layer of the package compared with S5, and with one convolution by FFT in float32?
`layers.csv`, `layers_lengths.csv` and `layers_step.csv`, on the CPU.

Training is forward and backward. Peers: ``s5-pytorch``, the original formulation in JAX (``jax.lax.associative_scan``,
jit; on the CPU only), ``torch.nn.LSTM``, and on a GPU the original formulation on torch's own ``associative_scan``,
compiled (on a GPU only). All have width 64 and the same 32 kept states (P = 64, conjugate symmetry). A ratio of 6 means
that the peer takes six times as long. The time of the first call is measured by
``compile_time.py``.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec

import numpy as np
import torch
from layer_variants import make, names
from timing import medians, save

from s5forecast.nn import Encoder
from s5forecast.ops import DISCRETIZATIONS
from s5forecast.ssm import S5
from s5forecast.ssm.ema import DampedEMA

H, P, N = 64, 64, 32
SHAPES = [(64, 384), (16, 2048), (4, 16384)]
LARGE = [(256, 384), (64, 2048), (16, 16384)]  # on a GPU
LONGEST_CAUCHY, MOST_STATES = 2048, 32768  # within 16 GB of memory
SUFFIX = {"cpu": "", "cuda": "_cuda"}


def trained(layer, u, *args, **kwargs):
    parameters, upstream = list(layer.parameters()), torch.randn_like(u)

    def run():
        y = layer(u, *args, **kwargs)
        torch.autograd.grad(y[0] if isinstance(y, tuple) else y, [u, *parameters], upstream, allow_unused=True)

    return run


def jax_layer(u: np.ndarray):
    """The original formulation: discretize by ZOH, project, scan with an associative operator, project back."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.PRNGKey(0), 5)
    parameters = {
        "Lambda": jnp.linspace(-0.5, -0.5, N) + 1j * jnp.arange(N),
        "B": jax.random.normal(keys[0], (N, H)) + 1j * jax.random.normal(keys[1], (N, H)),
        "C": jax.random.normal(keys[2], (H, N)) + 1j * jax.random.normal(keys[3], (H, N)),
        "D": jnp.ones(H),
        "log_step": jnp.full(N, -4.0),
    }

    def operator(left, right):
        return right[0] * left[0], right[0] * left[1] + right[1]

    def apply(p, sequence):
        step = jnp.exp(p["log_step"])
        Lambda_bar = jnp.exp(p["Lambda"] * step)
        B_bar = ((Lambda_bar - 1) / p["Lambda"])[:, None] * p["B"]
        Bu = jax.vmap(lambda v: B_bar @ v)(sequence)
        _, xs = jax.lax.associative_scan(operator, (Lambda_bar * jnp.ones((sequence.shape[0], 1)), Bu))
        return jax.vmap(lambda x: 2 * (p["C"] @ x).real)(xs) + sequence * p["D"]

    upstream = jax.random.normal(keys[0], u.shape)

    def loss(p, batch):
        return (upstream * jax.vmap(apply, in_axes=(None, 0))(p, batch)).sum()

    grad, batch = jax.jit(jax.grad(loss, argnums=(0, 1))), jnp.asarray(u)
    return lambda: jax.block_until_ready(grad(parameters, batch))


class AssociativeScan(torch.nn.Module):
    """The same layer on ``torch._higher_order_ops.associative_scan``, in real numbers, as its compiled form needs."""

    def __init__(self) -> None:
        super().__init__()
        from torch._higher_order_ops.associative_scan import associative_scan

        layer = S5(H, P)
        self.layer, self.scan = layer, associative_scan

    def forward(self, u):
        layer = self.layer
        (a_re, a_im), (scale_re, scale_im) = DISCRETIZATIONS["zoh"](layer.poles(), layer.timescales())
        (B_re, B_im), (C_re, C_im) = layer.input_matrix(), layer.output_matrix()
        scale_re, scale_im = scale_re[:, None], scale_im[:, None]
        B_bar = torch.stack([scale_re * B_re - scale_im * B_im, scale_re * B_im + scale_im * B_re])
        b_re, b_im = torch.einsum("bth,pnh->pbtn", u, B_bar)
        elements = (a_re.expand_as(b_re).clone(), a_im.expand_as(b_im).clone(), b_re, b_im)
        _, _, re, im = self.scan(_compose, elements, dim=1, combine_mode="pointwise")
        return 2 * torch.cat([re, im], -1) @ torch.cat([C_re, -C_im], -1).T + layer.D * u


def _compose(left, right):
    (a_re, a_im, b_re, b_im), (c_re, c_im, d_re, d_im) = left, right
    product = (c_re * a_re - c_im * a_im, c_re * a_im + c_im * a_re)
    return *product, c_re * b_re - c_im * b_im + d_re, c_re * b_im + c_im * b_re + d_im


def training(device: str) -> None:
    import s5

    rows = []
    for batch, steps in SHAPES if device == "cpu" else LARGE:
        torch.manual_seed(0)
        u = torch.randn(batch, steps, H, device=device, requires_grad=True)
        dt = torch.rand(batch, steps, device=device) + 0.5
        layer, peer = S5(H, P).to(device), s5.S5(H, N).to(device)
        candidates = {
            "S5": trained(layer, u),
            "S5 irregular": trained(layer, u, dt=dt),
            "s5-pytorch": trained(peer, u),
            "s5-pytorch irregular": trained(peer, u, step_scale=dt),
            "LSTM": trained(torch.nn.LSTM(H, H, batch_first=True).to(device), u),
        }
        if device == "cpu":
            candidates["JAX"] = jax_layer(u.detach().numpy())
        else:
            candidates["associative_scan"] = trained(torch.compile(AssociativeScan().to(device)), u)
        times = medians(candidates, seconds=20, rounds=7)
        ratios = {f"{name} / S5": times[name] / times["S5"] for name in times if name not in ("S5", "S5 irregular")}
        irregular = {
            "S5 irregular / regular": times["S5 irregular"] / times["S5"],
            "s5-pytorch irregular / S5 irregular": times["s5-pytorch irregular"] / times["S5 irregular"],
        }
        rows.append({"shape": f"{batch} x {steps} x {H}", "S5_ms": times["S5"], **ratios, **irregular})
    save(rows, f"layer_training{SUFFIX[device]}")


def lengths(device: str) -> None:
    """Time per step from 2^8 to 2^20 steps, 2^20 in all."""
    rows = []
    for exponent in range(8, 21, 2):
        u = torch.randn(2 ** (20 - exponent), 2**exponent, H, device=device, requires_grad=True)
        times = medians({"S5": trained(S5(H, P).to(device), u)}, seconds=0, rounds=3)
        rows.append({"steps": f"2^{exponent}", "batch": u.shape[0], "ns_per_step": 1e6 * times["S5"] / 2**20})
    shortest = min(row["ns_per_step"] for row in rows)
    save([{**row, "over_shortest": row["ns_per_step"] / shortest} for row in rows], f"layer_lengths{SUFFIX[device]}")


def stepping() -> None:
    """Observations per second, one at a time, through four layers on the CPU: by median step and by total time."""
    encoder = Encoder(H, 4, layer_kwargs={"state_size": P}).eval()
    layers = [S5(H, P).eval() for _ in range(4)]
    rows = []
    with torch.inference_mode():
        for name, step, state in (
            ("4 layers", lambda u, s: _through(layers, u, s), [layer.initial_state(1) for layer in layers]),
            ("encoder of 4 blocks", encoder.step, encoder.initial_state(1)),
        ):
            u = torch.randn(1, H)
            for _ in range(100):
                _, state = step(u, state)
            times = []
            for _ in range(3000):
                began = time.perf_counter()
                _, state = step(u, state)
                times.append(time.perf_counter() - began)
            median, mean = 1 / np.median(times), 1 / np.mean(times)
            rows.append({"model": name, "steps_per_second": median, "mean_steps_per_second": mean})
    save(rows, "layer_step")


def _through(layers, u, states):
    after = []
    for layer, state in zip(layers, states, strict=True):
        u, state = layer.step(u, state)
        after.append(state)
    return u, after


class Convolution(torch.nn.Module):
    """One causal convolution with a kernel as long as the sequence, by FFT."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.kernel = torch.nn.Parameter(torch.randn(H, steps))

    def forward(self, u):
        steps = u.shape[1]
        spectrum = torch.fft.rfft(u.mT, 2 * steps) * torch.fft.rfft(self.kernel, 2 * steps)
        return torch.fft.irfft(spectrum, 2 * steps)[..., :steps].mT


class CauchyKernel(torch.nn.Module):
    """S4 as its paper computes it: the kernel by Cauchy products at the roots of unity, and a convolution by FFT."""

    def __init__(self) -> None:
        super().__init__()
        layer = make("S4")
        poles, P, B, C = (torch.complex(*x) for x in (layer._poles(), layer.P[:, 0], layer.B, layer.C))
        values = {"Lambda": poles, "P": P, "B": B, "C": C, "log_step": layer.log_step}
        self.values = torch.nn.ParameterDict({name: value.detach() for name, value in values.items()})

    def forward(self, u):
        Lambda, P, B, C, log_step = (self.values[name] for name in ("Lambda", "P", "B", "C", "log_step"))
        steps, step = u.shape[1], torch.exp(log_step)[:, None]
        root = torch.exp(-2j * torch.pi * torch.arange(steps // 2 + 1) / steps)
        z, poles = 2 * (1 - root) / (1 + root + 1e-12), (step * Lambda)[..., None]
        products = torch.stack([C * B, C * P, P.conj() * B, P.conj() * P])[..., None]
        sums = step * ((products / (z - poles)).sum(-2) + (products.conj() / (z - poles.conj())).sum(-2))
        spectrum = 2 / (1 + root + 1e-12) * (sums[0] - sums[1] * sums[2] / (1 + sums[3]))
        kernel = torch.fft.irfft(spectrum, steps)
        convolved = torch.fft.rfft(u.mT, 2 * steps) * torch.fft.rfft(kernel, 2 * steps)
        return torch.fft.irfft(convolved, 2 * steps)[..., :steps].mT


class Averages(DampedEMA):
    """The moving averages of Mega alone."""

    def __init__(self) -> None:
        super().__init__(H, 16, False)
        self.reset_parameters()

    def forward(self, u):
        return super().forward(u, u.new_zeros(len(u), self.width, self.size))


def every_layer(shapes: list[tuple[int, int]], seconds: float) -> None:
    """Forward and backward of each layer, relative to S5, to s5-pytorch and to one convolution by FFT."""
    rows, published = [], {}
    if find_spec("s5"):
        import s5

        published["s5-pytorch"] = s5.S5(H, N)
    for batch, steps in shapes:
        torch.manual_seed(0)
        u = torch.randn(batch, steps, H, requires_grad=True)
        layers = {name: make(name) for name in names(steps)}
        layers |= {"EMA of Mega": Averages(), "FFT": Convolution(steps), **published}
        if steps <= LONGEST_CAUCHY:
            layers["S4, Cauchy kernel and FFT"] = CauchyKernel()
        candidates = {name: trained(layer, u) for name, layer in layers.items()}
        if batch * steps <= MOST_STATES:
            candidates["S4D, scan of all states"] = trained(layers["S4D"], u, dt=torch.ones(batch, steps))
        times = medians(candidates, seconds=seconds, rounds=3)
        for name, ms in times.items():
            relative = {f"/ {other}": ms / times[other] for other in ("S5", "FFT", *published)}
            rows.append({"shape": f"{batch} x {steps} x {H}", "layer": name, "ms": ms, **relative})
    save(rows, "layers")


def every_length() -> None:
    """Nanoseconds per step of each layer, from 2^8 to 2^16 steps, 2^16 in all."""
    rows = []
    for exponent in range(8, 17, 2):
        u = torch.randn(2 ** (16 - exponent), 2**exponent, H, requires_grad=True)
        candidates = {name: trained(make(name), u) for name in names(2**exponent)}
        times = medians(candidates, seconds=0, rounds=3)
        rows.append({"steps": f"2^{exponent}", **{name: 1e6 * ms / 2**16 for name, ms in times.items()}})
    save(rows, "layers_lengths")


def every_step() -> None:
    """Steps per second of each layer that has a step mode, one observation at a time."""
    rows = []
    with torch.inference_mode():
        for name in names(0):
            layer, u = make(name).eval(), torch.randn(1, H)
            if not layer.supports_step:
                continue
            state, times = layer.initial_state(1), []
            for _ in range(1000):
                began = time.perf_counter()
                _, state = layer.step(u, state)
                times.append(time.perf_counter() - began)
            rows.append({"layer": name, "steps_per_second": 1 / np.median(times)})
    save(rows, "layers_step")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=SUFFIX)
    parser.add_argument("--layers", action="store_true", help="compare the layers of the package")
    given = parser.parse_args()
    if given.layers:
        every_layer(SHAPES, seconds=60)
        every_length()
        every_step()
    else:
        training(given.device)
        lengths(given.device)
        if given.device == "cpu":
            stepping()
