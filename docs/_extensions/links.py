"""Links between pages in ``docs/`` and other files of the repository, which work on a code host and on the site.

A link that leaves ``docs/`` leads to the page of that file. If it has none, the site shows its path.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).parents[2]
# Files of the repository and their pages.
PAGES = {
    "CHANGELOG.md": "docs/development/changelog.md",
    "CONTRIBUTING.md": "docs/development/contributing.md",
    "datasets/README.md": "docs/datasets.md",
}
LINK = re.compile(r"\[([^\]\[]*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
logger = logging.getLogger(__name__)


def resolve(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrite the links of a page to files outside of ``docs/``."""
    page = PurePosixPath("docs", docname)
    copied = page.parts[1:-1] == ("examples",)  # notebooks
    folder = PurePosixPath("examples") if copied else page.parent

    def rewritten(match: re.Match[str]) -> str:
        text, target, anchor = match[1], os.path.normpath(folder / match[2]), match[3] or ""
        if target.startswith("docs/") and not copied:
            return match[0]
        if not (ROOT / target).exists():
            logger.warning("%s links to %s, which does not exist", docname, target, type="links")
            return match[0]
        target = PAGES.get(target, f"docs/{target}" if target.startswith("examples/") else target)
        if target.startswith("docs/"):
            return f"[{text}]({os.path.relpath(target, page.parent)}{anchor})"
        return f"`{target}`" if text.strip("`") in target else f"{text} (`{target}`)"

    source[0] = LINK.sub(rewritten, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
