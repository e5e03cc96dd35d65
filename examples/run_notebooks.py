"""Run the notebooks and save them with their outputs, each figure also as a PNG image.

    python examples/run_notebooks.py            # all notebooks of this folder, in place
    python examples/run_notebooks.py 01 04      # those whose names begin so

Code hosts show the image, Jupyter the interactive figure. Needs the extra ``notebook``, and for the images kaleido and a
Chrome or Chromium; the environment variable ``BROWSER_PATH`` names the program if it is not found.
"""

import base64
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import nbformat
import plotly.graph_objects as go
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
WIDTH = 900


def main(beginnings: list[str]) -> None:
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not beginnings or path.name.startswith(tuple(beginnings)):
            began = perf_counter()
            nbformat.write(with_images(without_widgets(executed(path))), path)
            print(f"{path.name}: {perf_counter() - began:.0f} s")


def executed(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=2400, record_timing=False, resources={"metadata": {"path": folder}})
        client.execute()
    return notebook


def without_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without progress bars, which would be shown as they were at the start."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    return notebook


def with_images(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if PLOTLY in output.get("data", {}):
                figure = output.data[PLOTLY]
                image = go.Figure(figure["data"], figure["layout"]).to_image("png", width=WIDTH)
                output.data["image/png"] = base64.b64encode(image).decode()
    return notebook


if __name__ == "__main__":
    main(sys.argv[1:])
