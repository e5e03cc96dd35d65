"""The Python code of the pages in docs."""

import re
from pathlib import Path

from s5forecast.ssm import LAYERS

DOCS = Path(__file__).parents[1] / "docs"
# Pages whose sections are independent of each other, and are run by tests of their own.
IN_SECTIONS = ("extending.md", "how_to/many_machines.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def pages_with_code():
    """Names of the pages whose code runs from top to bottom."""
    written = [page for page in DOCS.rglob("*.md") if not {"_build", "generated"} & {*page.relative_to(DOCS).parts}]
    names = [page.relative_to(DOCS).as_posix() for page in sorted(written) if BLOCK.search(page.read_text())]
    return [name for name in names if name not in IN_SECTIONS]


def run_page(page):
    """Run the code of a page in a fresh namespace."""
    code = "\n".join(BLOCK.findall((DOCS / page).read_text()))
    exec(compile(code, page, "exec", dont_inherit=True), {"__name__": "page"})


def sections(page):
    """The titles of the sections of a page that have Python code, and the code of each."""
    found = {}
    for section in re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]:
        blocks = BLOCK.findall(section)
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
