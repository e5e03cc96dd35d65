"""The code of docs/extending.md runs."""

import pytest
from pages import run_section, sections

PAGE = "extending.md"


@pytest.mark.parametrize("title", sections(PAGE))
def test_the_code_of_a_section_runs(title):
    run_section(PAGE, title)


def test_a_layer_is_shown():
    encoder = run_section(PAGE, "A layer")["encoder"]
    assert type(encoder.blocks[0].layer).__name__ == "Leaky" and encoder.supports_advance
