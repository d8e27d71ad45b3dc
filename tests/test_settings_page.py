"""The page of settings is what the dataclasses say."""

import dataclasses
import importlib.util
import pathlib

from slimjax.train.config import make_run_config

SCRIPT = pathlib.Path("docs/make_settings.py")


def load_script():
    spec = importlib.util.spec_from_file_location("make_settings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_page_is_up_to_date():
    page = pathlib.Path("docs/settings.md").read_text(encoding="utf-8")
    assert page == load_script().make_page(), "run: make docs"


def test_every_setting_has_a_row_with_its_default():
    page = pathlib.Path("docs/settings.md").read_text(encoding="utf-8")
    missing = []
    for name, block in vars(make_run_config({})).items():
        if not dataclasses.is_dataclass(block):
            continue
        section = page.split(f"## config.{name}\n")[1].split("\n## ")[0]
        fields = [f.name for f in dataclasses.fields(block)]
        missing += [f"{name}.{f}" for f in fields if f"\n| `{f}` | " not in section]
    assert not missing


def test_an_entry_ends_where_the_next_one_begins():
    text = """A block.

    Attributes:
        one: First,
            in two lines: with a colon.
        two: Second.

    Raises:
        ValueError: Never.
    """
    expected = {"one": "First, in two lines: with a colon.", "two": "Second."}
    assert load_script().read_attributes(text) == expected
