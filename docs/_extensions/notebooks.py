"""Pages of the notebooks in ``examples/``, which Sphinx reads from ``docs/examples/``, a copy that git ignores."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

NOTEBOOKS = Path(__file__).parents[2] / "examples"


def copy_notebooks(app: Sphinx, config: Config) -> None:
    folder = Path(app.srcdir) / "examples"
    folder.mkdir(exist_ok=True)
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        copy = folder / notebook.name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:  # an unchanged page is not built again
            copy.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
