"""The Python code of the pages in docs."""

import re
from pathlib import Path

from s5forecast.ssm import LAYERS

DOCS = Path(__file__).parents[1] / "docs"


def sections(page):
    """The titles of the sections of a page that have Python code, and the code of each."""
    found = {}
    for section in re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        if blocks:
            found[section.splitlines()[0]] = "\n".join(blocks)
    return found


def run_section(page, title):
    """Run the code of a section, leave the table of layers as it was, and return the names defined."""
    layers, namespace = dict(LAYERS), {"__name__": "page"}
    try:
        exec(compile(sections(page)[title], f"{page}: {title}", "exec", dont_inherit=True), namespace)
    finally:
        LAYERS.clear()
        LAYERS.update(layers)
    return namespace
