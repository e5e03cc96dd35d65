"""The table of outputs in the documentation is up to date."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "distributions_table.py"


def test_the_table_is_up_to_date():
    names = runpy.run_path(str(SCRIPT))
    text = names["PAGE"].read_text()
    assert names["page"](text) == text, "run python docs/distributions_table.py"
