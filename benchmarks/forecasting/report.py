"""How do the results compare with published ones? Writes results/report.md and results/report.html.

    python report.py
    python report.py --image ../../docs/images/accuracy.png   # also the figure of docs/benchmarks.md; needs kaleido

A ratio is the WQL or MASE of a model divided by that of seasonal naive; the ratio of a suite is the geometric mean over
its tasks.
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
OURS, HERE = "(ours)", "(run here)"
# Labels of the files in results; the others are labeled by their names.
LABELS = {
    "fast": f"fast {OURS}",
    "default": f"default {OURS}",
    "best": f"best {OURS}",
    "s5_autoregressive": f"autoregressive {OURS}",
    "s5_recursive_encoder": f"autoregressive, recursive encoder {OURS}",
    "seasonal_naive": f"seasonal naive {HERE}",
    "auto_ets": f"AutoETS {HERE}",
    "deepar": f"DeepAR {HERE}",
    "patch_tst": f"PatchTST {HERE}",
    "tft": f"TFT {HERE}",
    "tide": f"TiDE {HERE}",
}
NAIVE = "seasonal naive"
ZERO_SHOT = ("Chronos-2", "Chronos-Bolt-small", "FlowState-r1.1", "PatchTST-FM-r1", "TiRex")
# In the figure of accuracy and time: variants that are not drawn, and names that are not to the right of their points.
NOT_DRAWN = [LABELS["s5_recursive_encoder"], LABELS["seasonal_naive"]]
TEXT_POSITIONS = {
    "fast": "top center", "default": "bottom left", "best": "top right", "TFT": "top center",
    "PatchTST": "bottom center", "autoregressive": "bottom right",
}  # fmt: skip
NOTE = (
    "Ratios to seasonal naive (lower is better), as geometric means over tasks; WQL over the deciles. Models marked "
    "'(ours)' or '(run here)' were trained by `run.py`, and their results are means over seeds. The others are "
    "published results, see `published.csv`. The members of 'best' depend on the number of values, the horizon and the "
    "season of the task, see `NOTES.md`."
)
SUITES = {
    "gift": "GIFT-Eval, 23 tasks",
    "chronos": "Chronos benchmarks, 11 data sets",
    "own": "Own splits, 4 data sets",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FOLDER / "results")
    parser.add_argument("--image", type=Path, help="PNG file of WQL against training time")
    arguments = parser.parse_args()
    folder = arguments.results
    measured = read_results(folder)
    scores = pd.concat([measured, read_published()], ignore_index=True)
    tables = {suite: suite_table(scores, suite) for suite in SUITES}
    text = "\n\n".join(f"## {SUITES[suite]}\n\n{to_markdown(table)}" for suite, table in tables.items() if len(table))
    (folder / "report.md").write_text(f"# Forecast accuracy\n\n{NOTE}\n\n{text}\n\n{to_seconds(measured)}")
    page(tables).write_html(folder / "report.html", config={"displayModeBar": False})
    if arguments.image:
        accuracy_against_time(tables, measured).write_image(arguments.image, width=1160, height=460, scale=2)
    print(text)


def read_results(folder: Path) -> pd.DataFrame:
    """Means over seeds: task, model, WQL, MASE, seeds, train_seconds, predict_seconds."""
    frames = [pd.read_csv(path).assign(model=path.stem) for path in sorted(folder.glob("*.csv"))]
    rows = pd.concat(frames, ignore_index=True)
    rows["model"] = rows["model"].map(lambda name: LABELS.get(name, f"{name} {HERE}"))
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
    naive = next((name for name in (NAIVE, LABELS["seasonal_naive"]) if name in wide.index), None)
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


def accuracy_against_time(tables: dict[str, pd.DataFrame], measured: pd.DataFrame) -> go.Figure:
    """WQL against processor seconds, a panel for each suite; lines mark the best published models, which have no times.

    Seconds are for training and for forecasting all windows, because statistical models are fitted when they forecast.
    """
    shown = {suite: table for suite, table in tables.items() if len(table)}
    titles = [f"<b>{SUITES[suite]}</b>" for suite in shown]
    figure = make_subplots(1, len(shown), horizontal_spacing=0.06, subplot_titles=titles)
    for column, table in enumerate(shown.values(), start=1):
        ratios = table["WQL", "geometric mean"].drop(NOT_DRAWN, errors="ignore")
        seconds = _seconds(measured, set(table["WQL"].columns))
        for mark, name in ((OURS, "s5forecast"), (HERE, "other models, run here")):
            points = _points(ratios[ratios.index.str.endswith(mark)], seconds, mark)
            figure.add_trace(points.update(name=name, legendgroup=name, showlegend=column == len(shown)), 1, column)
        for label, ratio in _best_published(ratios).items():
            figure.add_hline(
                ratio, line={"dash": "dot", "color": "gray", "width": 1.2}, annotation={"text": label, "font_size": 11},
                annotation_position="top right", row=1, col=column,
            )  # fmt: skip
    styled(figure, title="Accuracy and time (lower and further left is better)", height=460)
    figure.update_xaxes(type="log", title_text="processor seconds", range=[1.1, 2.9], tickvals=[20, 50, 100, 200, 500])
    figure.update_yaxes(tickformat=".2f")
    figure.update_yaxes(title_text="WQL / WQL of seasonal naive", col=1)
    return figure.update_layout(legend={"x": 1, "xanchor": "right", "y": 1.2}, margin_t=96)


def _seconds(measured: pd.DataFrame, tasks: set[str]) -> pd.Series:
    """Geometric mean over the tasks of the seconds of each model."""
    rows = measured[measured["task"].isin(tasks)]
    return np.exp(np.log(rows["train_seconds"] + rows["predict_seconds"]).groupby(rows["model"]).mean())


def _points(ratios: pd.Series, seconds: pd.Series, mark: str) -> go.Scatter:
    names = [model.removesuffix(f" {mark}") for model in ratios.index]
    return go.Scatter(
        x=seconds[ratios.index], y=ratios, text=names, mode="markers+text", cliponaxis=False,
        textposition=[TEXT_POSITIONS.get(name, "middle right") for name in names],
        marker={"size": 10, "color": PALETTE[0 if mark == OURS else 1]},
    )  # fmt: skip


def _best_published(ratios: pd.Series) -> dict[str, float]:
    """The lowest ratios of a model trained on each data set and of a zero-shot model, by label."""
    published = ratios[[not model.endswith((OURS, HERE)) for model in ratios.index]].drop(NAIVE, errors="ignore")
    zero_shot = published.index.isin(ZERO_SHOT)
    groups = {"zero-shot": published[zero_shot], "trained per data set": published[~zero_shot]}
    return {f"{group.idxmin()} ({kind})": group.min() for kind, group in groups.items() if len(group)}


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
    if model.endswith(OURS):
        return PALETTE[0]
    return PALETTE[1] if model.endswith(HERE) else "lightgray"


if __name__ == "__main__":
    main()
