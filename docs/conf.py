"""Configuration of the documentation site. ``make docs`` builds it without a network."""

import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # for the extensions in docs/_extensions

from sphinx.application import Sphinx  # noqa: E402

import s5forecast  # noqa: E402

project = "s5forecast"
author = "the s5forecast developers"
copyright = author
version = release = s5forecast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "_extensions.choices",
    "_extensions.links",
    "_extensions.mathml",
    "_extensions.notebooks",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "_extensions", "_templates"]
templates_path = ["_templates"]
html_math_renderer = "mathml"

myst_enable_extensions = ["attrs_block", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

autosummary_generate = True
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "s5forecast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
toc_object_entries_show_parents = "hide"
html_theme_options = {
    "logo": {"text": "s5forecast"},
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": [], "getting_started": [], "benchmarks": []}
html_context = {"default_mode": "auto"}


def skip_members_of_other_packages(
    app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out what a class inherits from GluonTS, torch or scikit-learn."""
    module = getattr(getattr(member, "fget", member), "__module__", None) or project
    return None if module.startswith(project) else True


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", skip_members_of_other_packages)
