"""Writes the table of outputs in concepts/distributions.md: `python docs/distributions_table.py`."""

from pathlib import Path

from torch.distributions import constraints

from s5forecast.distributions import (
    DISTRIBUTIONS,
    ForecastDistribution,
    ForecastOutput,
    losses_of,
    make_output,
    support,
)

PAGE = Path(__file__).parent / "concepts" / "distributions.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"
VALUES = {
    constraints.real: "real",
    constraints.positive: "positive",
    constraints.nonnegative: "zero or positive",
    constraints.nonnegative_integer: "counts",
}


def row(name: str) -> str:
    output = make_output(name)
    takes = "loc and scale" if getattr(output, "takes_loc", True) else "scale"
    cells = [
        f"`{name}`",
        f"`{type(output).__name__}`",
        VALUES.get(support(output), "between 0 and 1"),
        takes,
        ", ".join(output.args_dim) if len(output.args_dim) < 5 else "those of its components, `logits`",
        crps(output),
        ", ".join(f"`{loss}`" for loss in losses_of(output)),
    ]
    return f"| {' | '.join(cells)} |\n"


def crps(output: object) -> str:
    if not isinstance(output, ForecastOutput):
        return "from its quantiles"
    own = output.distr_cls.gini_mean_difference is not ForecastDistribution.gini_mean_difference
    return "closed form" if own and not hasattr(output, "components") else "quadrature"


def table() -> str:
    head = "| name | output | values | takes | arguments | CRPS | losses, its default first |\n"
    return head + "|---" * 7 + "|\n" + "".join(map(row, DISTRIBUTIONS))


def page(text: str) -> str:
    """The page with the table of today."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
