"""The page about the package shows the floors that the imports are held to."""

import pathlib
import re

from test_house import FLOOR_OF, modules, room_of

PAGE = pathlib.Path("docs/house.md").read_text(encoding="utf-8")


def floors_of_page() -> dict[str, int]:
    """Returns the floor of each room in the table."""
    floors = {}
    for number, rooms in re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE):
        names = re.findall(r"(?:^|[;,] )`(\w+)`", rooms)
        floors |= dict.fromkeys(names, int(number))
    return floors


def test_the_table_has_every_room_of_the_package():
    assert {room_of(file) for file in modules()} <= set(floors_of_page())


def test_the_table_has_the_floors_of_the_imports():
    page = floors_of_page()
    assert page == {room: FLOOR_OF[room] for room in page}
