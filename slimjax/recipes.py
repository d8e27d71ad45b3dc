"""Finding a config by its path or by the name of a recipe.

Recipes are the files of ``configs/``; the package carries them as ``slimjax/configs``.
"""

from pathlib import Path

from slimjax.errors import ConfigError, suggest
from slimjax.paths import printable, user_path

OWN = Path(__file__).parent / "configs"
"""The recipes that come with the package."""

SUFFIXES = (".py", ".json")


def find_config(text: str | Path) -> Path:
    """Returns the config file that a path or a name means.

    A file of that path is taken first, then a recipe of that name in ``./configs``,
    then one of the package.

    Args:
        text: A path, such as ``configs/quickstart.py``, or a name, ``quickstart``.

    Raises:
        ConfigError: If there is neither; lists the recipes.

    Examples:
        >>> find_config("quickstart").name
        'quickstart.py'
    """
    path = user_path(text, "--config")
    if path.is_file():
        return path
    if str(path) == path.name:
        for folder in (Path("configs"), OWN):
            for suffix in ("", *SUFFIXES):
                candidate = folder / f"{path.name}{suffix}"
                if candidate.is_file():
                    return candidate
    raise ConfigError(
        f"--config={printable(path)} is not a file and not a recipe. {_hint(path)}"
    )


def list_recipes() -> list[str]:
    """Returns the names of all recipes, of ``./configs`` and of the package."""
    folders = [folder for folder in (Path("configs"), OWN) if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir()]
    return sorted({file.stem for file in files if file.suffix in SUFFIXES})


def _hint(path: Path) -> str:
    recipes = list_recipes()
    if path.stem in recipes:
        return f"Did you mean --config={path.stem}?"
    known = f"Recipes: {', '.join(map(printable, recipes))}."
    near = recipes
    if str(path) != path.name and path.parent.is_dir():
        near = [str(file) for file in path.parent.iterdir() if file.suffix in SUFFIXES]
    offer = suggest(str(path), near) if near else ""
    return f"{printable(offer)} {known}" if offer.startswith("Did you mean") else known
