"""The formulas of the docs are what the functions of the package compute."""

import doctest
import re

import pytest
from documents import ROOT


@pytest.mark.wrong_types  # Plain NumPy arrays, as by hand.
def test_formulas_hold():
    page = ROOT / "docs" / "formulas.md"
    text = re.sub(r"^```.*$", "", page.read_text("utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted > 60
    assert not result.failed
