"""Draws the figures of the page on layers into ``docs/images``: `python docs/layer_figures.py`. Needs matplotlib."""

import matplotlib.pyplot as plt
import torch
from figures import STYLE, save

from s5forecast.plotting.theme import OBSERVED, PALETTE
from s5forecast.ssm import DSS, LRU, S4, S4D, S5, Mega, StateSpaceLayer

WIDTH, STATES, STEPS = 64, 64, 256
LAYERS = {
    "S5 hippo": lambda: S5(WIDTH, STATES),
    "S5 hippo_ptd": lambda: S5(WIDTH, STATES, initialization="hippo_ptd"),
    "S4 legs": lambda: S4(WIDTH, STATES),
    "S4 legt": lambda: S4(WIDTH, STATES, initialization="legt"),
    "S4 fout": lambda: S4(WIDTH, STATES, initialization="fout"),
    "S4D legs": lambda: S4D(WIDTH, STATES),
    "S4D ptd": lambda: S4D(WIDTH, STATES, initialization="ptd"),
    "S4D inv": lambda: S4D(WIDTH, STATES, initialization="inv"),
    "S4D lin": lambda: S4D(WIDTH, STATES, initialization="lin"),
    "S4D real": lambda: S4D(WIDTH, STATES, initialization="real"),
    "DSS": lambda: DSS(WIDTH, STATES),
    "LRU": lambda: LRU(WIDTH, STATES, r_min=0.9, r_max=0.999),
    "Mega": lambda: Mega(WIDTH),
}
DESCRIPTIONS = {"LRU": "LRU, ring 0.9 to 0.999", "Mega": "Mega, moving average"}


@torch.no_grad()
def response(layer: StateSpaceLayer) -> torch.Tensor:
    """Outputs ``[T, H]`` after an impulse in all features at step 0, without the direct path."""
    impulse = torch.zeros(1, STEPS, WIDTH)
    impulse[:, 0] = 1
    if isinstance(layer, Mega):
        layer.average.omega.zero_()
        return layer.average(impulse, layer.initial_state(1)[0])[0][0]
    layer.D.zero_()
    return layer(impulse)[0][0]


@torch.no_grad()
def timescales(layer: StateSpaceLayer) -> torch.Tensor:
    """Steps in which the states of a new layer lose a factor of e."""
    if isinstance(layer, Mega):
        ema = layer.average
        return -1 / torch.log1p(-torch.sigmoid(ema.delta) * torch.sigmoid(ema.alpha)).flatten()
    if isinstance(layer, S4):
        A, _ = layer.matrices()
        return -1 / torch.linalg.eigvals(A).abs().log().flatten()
    return 1 / (layer.timescales() * layer.poles()[0].abs())


def impulse_responses() -> None:
    """The responses of three features of each new layer."""
    figure, grid = plt.subplots(4, 4, figsize=(7.5, 6), sharex=True, layout="constrained")
    for axes in grid.flat[len(LAYERS) :]:
        axes.set_axis_off()
    for axes, (name, make) in zip(grid.flat, LAYERS.items(), strict=False):
        torch.manual_seed(0)
        y = response(make())[:, :3]
        axes.set_prop_cycle(color=PALETTE)
        axes.plot(y / y.abs().amax(0), linewidth=0.9)

        axes.set(title=DESCRIPTIONS.get(name, name), ylim=(-1.1, 1.1), yticks=[])
        axes.axhline(0, color=OBSERVED, linewidth=0.4)
        axes.tick_params(labelbottom=True)
    save(figure, "layer_responses")


def ranges() -> None:
    """The central 90 % of the timescales of each new layer."""
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for row, make in enumerate(reversed(LAYERS.values())):
        torch.manual_seed(0)
        low, middle, high = torch.quantile(timescales(make()).float(), torch.tensor([0.05, 0.5, 0.95])).tolist()
        axes.plot([low, high], [row, row], color=PALETTE[0], linewidth=4, alpha=0.35, solid_capstyle="butt")
        axes.plot(middle, row, "o", color=PALETTE[0])
    names = [DESCRIPTIONS.get(name, name) for name in reversed(LAYERS)]
    axes.set(xscale="log", xlabel="timescale, in steps", yticks=range(len(names)), yticklabels=names)
    save(figure, "layer_timescales")


if __name__ == "__main__":
    with plt.rc_context(STYLE):
        impulse_responses()
        ranges()
