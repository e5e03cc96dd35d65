"""CITATION.cff has the fields that its schema requires, and the version of the package."""

from pathlib import Path

import yaml

import s5forecast

REQUIRED = {"authors", "cff-version", "message", "title"}  # of the Citation File Format, version 1.2.0


def test_the_citation_is_complete():
    citation = yaml.safe_load((Path(__file__).parents[1] / "CITATION.cff").read_text())
    assert set(citation) >= REQUIRED
    assert citation["version"] == s5forecast.__version__
    assert all("name" in author or "family-names" in author for author in citation["authors"])
