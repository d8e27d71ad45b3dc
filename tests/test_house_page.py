"""The page about the package shows the floors that the imports are held to."""

import pathlib
import re

from test_house import FLOORS, modules, room_of

PAGE = pathlib.Path("docs/house.md").read_text(encoding="utf-8")


def floors_of_page() -> dict[str, int]:
    """Returns the floor of each room in the table."""
    floors = {}
    for number, rooms in re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE):
        names = re.split(r"[;,] (?=`)", rooms)
        floors |= {re.match(r"`(\w+)`", name)[1]: int(number) for name in names}
    return floors


def test_the_table_of_floors_is_that_of_the_imports():
    present = {room_of(file) for file in modules()}
    rows = [sorted(rooms & present) for rooms in FLOORS]
    rows = [rooms for rooms in rows if rooms]
    expected = {room: floor for floor, rooms in enumerate(rows) for room in rooms}
    assert floors_of_page() == expected
