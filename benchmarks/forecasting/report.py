"""How do the results compare with published ones? Writes results/report.md and results/report.html.

    python report.py

A ratio is a model's WQL or MASE over that of seasonal naive; a suite's figure is the geometric mean over its tasks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import yaml
from plotly.subplots import make_subplots
from tasks import FOLDER

from s5forecast.plotting.theme import PALETTE, styled

METRICS = ["WQL", "MASE"]
OURS = {
    "fast": "preset fast (ours)",
    "default": "preset default (ours)",
    "best": "preset best (ours)",
    "s5_autoregressive": "S5AutoregressiveEstimator (ours)",
    "s5_recursive_encoder": "S5AutoregressiveEstimator, recursive encoder (ours)",
}
NOTE = (
    "Ratios to seasonal naive (lower is better), as geometric means over tasks; WQL over the deciles. Ours and models "
    "marked 'run here' were trained by `run.py`, means over seeds; the others are published figures, see "
    "`published.csv`. `s5forecast.presets.BestEstimator` documents what preset best combines."
)
NAIVE = "seasonal naive"
HERE = "(run here)"
SUITES = {"gift": "GIFT-Eval, 23 tasks", "chronos": "Chronos benchmarks I and II, 11 data sets", "own": "Own splits"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FOLDER / "results")
    folder = parser.parse_args().results
    measured = read_results(folder)
    scores = pd.concat([measured, read_published()], ignore_index=True)
    tables = {suite: suite_table(scores, suite) for suite in SUITES}
    text = "\n\n".join(f"## {SUITES[suite]}\n\n{to_markdown(table)}" for suite, table in tables.items() if len(table))
    (folder / "report.md").write_text(f"# Forecast accuracy\n\n{NOTE}\n\n{text}\n\n{to_seconds(measured)}")
    page(tables).write_html(folder / "report.html", config={"displayModeBar": False})
    print(text)


def read_results(folder: Path) -> pd.DataFrame:
    """Means over seeds: task, model, WQL, MASE, seeds, train_seconds, predict_seconds."""
    frames = [pd.read_csv(path).assign(model=path.stem) for path in sorted(folder.glob("*.csv"))]
    rows = pd.concat(frames, ignore_index=True)
    rows["model"] = rows["model"].map(lambda name: OURS.get(name, f"{name} {HERE}"))
    spread = rows.groupby(["model", "task"], sort=False)["WQL"].std()
    means = rows.groupby(["model", "task"], sort=False).mean(numeric_only=True)
    return means.assign(spread=spread).reset_index()


def read_published() -> pd.DataFrame:
    """Published figures, and the published seasonal naive of each task."""
    tasks = yaml.safe_load((FOLDER / "tasks.yaml").read_text())
    naive = [{"task": t["name"], "model": NAIVE, "WQL": t["seasonal_naive"][0], "MASE": t["seasonal_naive"][1]}
             for t in tasks if t["seasonal_naive"]]  # fmt: skip
    return pd.concat([pd.DataFrame(naive), pd.read_csv(FOLDER / "published.csv")], ignore_index=True)


def suite_table(scores: pd.DataFrame, suite: str) -> pd.DataFrame:
    """Ratios to seasonal naive: a row per model, best first; columns (metric, task), the geometric mean first.

    Models that lack a task are left out of the suite.
    """
    tasks = [t["name"] for t in yaml.safe_load((FOLDER / "tasks.yaml").read_text()) if t["suite"] == suite]
    rows = scores[scores["task"].isin(tasks)].drop_duplicates(["model", "task"])
    wide = rows.pivot(index="model", columns="task", values=METRICS)
    naive = next((name for name in (NAIVE, f"seasonal_naive {HERE}") if name in wide.index), None)
    if naive is None:
        return pd.DataFrame()
    ratios = wide.div(wide.loc[naive]).dropna(axis=1, how="all").dropna()
    means = {(metric, "geometric mean"): np.exp(np.log(ratios[metric]).mean(axis=1)) for metric in METRICS}
    columns = pd.MultiIndex.from_tuples([*means, *ratios.columns])
    return pd.DataFrame(means, index=ratios.index).join(ratios)[columns].sort_values(("WQL", "geometric mean"))


def to_markdown(table: pd.DataFrame) -> str:
    """Means of all models, then WQL ratios by task."""
    means = table.xs("geometric mean", axis=1, level=1).round(3)
    by_task = table["WQL"].drop(columns="geometric mean").T.round(3)
    return f"{means.to_markdown()}\n\nWQL by task:\n\n{by_task.to_markdown()}"


def to_seconds(measured: pd.DataFrame) -> str:
    """Processor seconds of the models run here."""
    columns = ["WQL", "spread", "MASE", "coverage_80", "coverage_90", "train_seconds", "predict_seconds", "parameters"]
    table = measured.set_index(["model", "task"])[columns].round(4).reset_index()
    note = "Seconds are those of the processor; spread is the standard deviation of WQL over seeds."
    return f"## Run here\n\n{note}\n\n{table.to_markdown(index=False)}\n"


def page(tables: dict[str, pd.DataFrame]) -> go.Figure:
    """Both means of every model, with ours and the peers run here in color; one suite at a time."""
    figure = make_subplots(1, len(METRICS), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=METRICS)
    shown = [suite for suite, table in tables.items() if len(table)]
    for suite in shown:
        means = tables[suite].xs("geometric mean", axis=1, level=1).iloc[::-1]
        for column, metric in enumerate(METRICS, start=1):
            figure.add_bar(
                x=means[metric], y=means.index, orientation="h", marker_color=[_color(model) for model in means.index],
                visible=suite == shown[0], text=means[metric].map("{:.3f}".format), textposition="auto",
                hovertemplate=f"%{{y}}: %{{x:.3f}}<extra>{metric}</extra>", row=1, col=column,
            )  # fmt: skip
    buttons = [
        {
            "label": SUITES[suite],
            "method": "update",
            "args": [{"visible": [other == suite for other in shown for _ in METRICS]}],
        }
        for suite in shown
    ]
    styled(figure, title="Ratio to seasonal naive (lower is better)", height=760)
    figure.add_vline(x=1, line_dash="dot", line_color="gray")
    menu = {"buttons": buttons, "x": 1, "y": 1.12, "xanchor": "right"}
    return figure.update_layout(updatemenus=[menu], showlegend=False, bargap=0.25, margin_l=260)


def _color(model: str) -> str:
    if model in OURS.values():
        return PALETTE[0]
    return PALETTE[1] if model.endswith(HERE) else "lightgray"


if __name__ == "__main__":
    main()
