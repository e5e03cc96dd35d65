"""Pages of the notebooks in ``examples/``, which Sphinx reads from ``docs/examples/``, a copy that git ignores."""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

NOTEBOOKS = Path(__file__).parents[2] / "examples"
# Formats of outputs, best first. Interactive figures and widgets need scripts from a network; their pictures do not.
SHOWN = ("image/png", "text/html", "text/plain")


def copy_notebooks(app: Sphinx, config: Config) -> None:
    folder = Path(app.srcdir) / "examples"
    folder.mkdir(exist_ok=True)
    for path in NOTEBOOKS.glob("*.ipynb"):
        text = json.dumps(without_scripts(json.loads(path.read_text(encoding="utf-8"))))
        copy = folder / path.name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:  # an unchanged page is not built again
            copy.write_text(text, encoding="utf-8")


def without_scripts(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with one format of each output."""
    notebook["metadata"].pop("widgets", None)
    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
        if "data" in output:
            output["data"] = dict([(name, output["data"][name]) for name in SHOWN if name in output["data"]][:1])
    return notebook


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
