"""The formulas of the docs are what the functions of the package compute."""

import doctest
import re

from documents import ROOT


def test_formulas_hold():
    page = ROOT / "docs" / "formulas.md"
    text = re.sub(r"^```.*$", "", page.read_text("utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted > 60
    assert not result.failed
