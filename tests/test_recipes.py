"""A config is found by its path or by the name of a recipe."""

from pathlib import Path

import pytest

from slimjax.config import read_config
from slimjax.errors import ConfigError
from slimjax.recipes import OWN, find_config, list_recipes

SOURCE = Path(__file__).parents[1] / "configs"


def test_the_package_carries_the_files_of_configs():
    names = sorted(file.name for file in SOURCE.glob("*.py"))
    assert names == sorted(file.name for file in OWN.glob("*.py"))
    assert "quickstart.py" in names


def test_a_name_is_found_here_first_and_then_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("quickstart") == OWN / "quickstart.py"
    (tmp_path / "configs").mkdir()
    mine = tmp_path / "configs" / "quickstart.json"
    mine.write_text('{"seed": 7}', encoding="utf-8")
    assert read_config("quickstart") == {"seed": 7}
    (tmp_path / "quickstart").write_text("{}", encoding="utf-8")
    assert find_config("quickstart") == Path("quickstart")
    assert "quickstart" in list_recipes()


def test_an_unknown_name_lists_the_recipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean quickstart") as told:
        find_config("quikstart")
    assert "Recipes: " in str(told.value)
    with pytest.raises(ConfigError, match=r"Recipes: .*tiny_test"):
        find_config("zzz")
    with pytest.raises(ConfigError, match="Did you mean --config=quickstart"):
        find_config("configs/quickstart.py")


def test_no_name_leads_out_of_the_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.py").write_text("1 / 0")
    for name in ("../secret", "configs/../secret", str(tmp_path / "secret")):
        with pytest.raises(ConfigError, match="is not a file"):
            find_config(name)


@pytest.mark.parametrize("kind", ["dict", "ConfigDict"])
def test_a_config_file_may_give_a_dict(tmp_path, kind):
    code = "from ml_collections import ConfigDict\ndef get_config():\n    "
    (tmp_path / "c.py").write_text(code + f"return {kind}({{'seed': 3}})")
    assert read_config(tmp_path / "c.py") == {"seed": 3}


def test_a_key_that_a_config_misses_is_not_its_function(tmp_path, monkeypatch):
    monkeypatch.delenv("DATA_DIR", raising=False)
    path = tmp_path / "c.py"
    path.write_text(
        "import os\ndef get_config():\n"
        '    return {"data": {"source": os.environ["DATA_DIR"]}}\n'
    )
    with pytest.raises(ConfigError, match=r"c\.py fails: KeyError: 'DATA_DIR'"):
        read_config(path)
    path.write_text("x = 1\n")
    with pytest.raises(ConfigError, match=r"defines no get_config\(\)"):
        read_config(path)


def test_a_config_that_is_no_data_is_refused(tmp_path):
    for value in ("[1]", "None", "3", "{'a': object()}"):
        (tmp_path / "c.py").write_text(f"get_config = lambda: {value}")
        with pytest.raises(ConfigError, match=r"c\.py"):
            read_config(tmp_path / "c.py")
