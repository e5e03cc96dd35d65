"""The directive ``choices``, which documents a dict of choices by name and lists its names."""

from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Choices(SphinxDirective):
    """``.. choices:: module.NAME``, with the description as content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module, name = self.arguments[0].rsplit(".", 1)
        names = ", ".join(f"``{key}``" for key in getattr(import_module(module), name))
        text = "\n   ".join(self.content)
        return self.parse_text_to_nodes(f".. py:data:: {name}\n   :module: {module}\n\n   {text}\n\n   {names}\n")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("choices", Choices)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
