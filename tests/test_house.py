"""The plan of the house: who may import whom, how long pages are, what loads jax."""

import ast
import json
import pathlib
import subprocess
import sys

import slimjax

PACKAGE = pathlib.Path(slimjax.__file__).parent
FLOORS = [
    {"errors", "lazy", "version"},
    {"paths", "trees"},
    {"memory", "native", "processes", "recipes"},
    {"config"},
    {"text"},
    {"nn", "data"},
    {"models"},
    {"objective"},
    {"budget", "mesh", "store", "tasks"},
    {"strategies", "resize", "distill", "generate", "interop", "report"},
    {"train"},
    {"run"},
    {"plan", "tune", "compress", "audit"},
    {"api"},
    {"cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def modules() -> dict[pathlib.Path, ast.Module]:
    files = [f for f in PACKAGE.rglob("*.py") if f != PACKAGE / "__init__.py"]
    return {f: ast.parse(f.read_text(encoding="utf-8")) for f in files}


def room_of(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.Module) -> set[str]:
    rooms = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "slimjax":
            rooms |= {alias.name for alias in node.names} & set(FLOOR_OF)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            rooms |= {parts[1]} if parts[0] == "slimjax" else set()
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            rooms |= {n[1] for n in names if n[0] == "slimjax" and len(n) > 1}
    return rooms


def test_every_room_has_a_floor():
    assert {room_of(file) for file in modules()} <= set(FLOOR_OF)


def test_imports_go_down_only():
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {room}"
        for file, tree in modules().items()
        for room in imported_rooms(tree) - {room_of(file)}
        if FLOOR_OF[room] >= FLOOR_OF[room_of(file)]
    ]
    assert not wrong


def test_no_page_and_no_function_is_too_long():
    long = []
    for file, tree in modules().items():
        name = file.relative_to(PACKAGE)
        num_lines = len(file.read_text(encoding="utf-8").splitlines())
        if num_lines > MAX_FILE_LINES:
            long.append(f"{name} has {num_lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                doc = len((ast.get_docstring(node) or "").splitlines())
                size = node.end_lineno - node.lineno + 1 - doc
                if size > MAX_FUNCTION_LINES:
                    long.append(f"{name}: {node.name} has {size} lines")
    assert not long


def test_no_room_is_called_by_a_name_that_says_nothing():
    empty = {"utils", "common", "misc", "helpers"}
    assert not [f for f in modules() if f.stem in empty or f.parent.name in empty]


def test_the_package_and_its_help_load_no_jax():
    code = (
        "import sys, slimjax; from slimjax.cli.main import main; main(['--help']);"
        "main(['--version']);"
        "sys.exit(any(m in sys.modules for m in ('jax', 'flax', 'numpy', 'rich')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"usage: slimjax COMMAND" in done.stdout


READING_COMMANDS = """
import sys
from slimjax.cli.main import main
run, page = sys.argv[1:]
codes = [main(["inspect", run]), main(["inspect", run, "--json"])]
codes += [main(["report", run, f"--output={page}"])]
loaded = [name for name in ("jax", "flax", "orbax", "optax") if name in sys.modules]
print(codes, loaded)
sys.exit(any(codes) or bool(loaded))
"""


def test_commands_that_read_a_run_load_no_jax(tmp_path):
    entry = {"step": 1, "loss": 2.5, "params": 10, "tokens": 64, "bytes": 40}
    layer = {"num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "mlp_dim": 16}
    files = {
        "config.json": {"data": {"source": "stdlib"}, "train": {"num_steps": 1}},
        "architecture.json": [layer | {"attention": True, "mlp": True}],
        "metrics.jsonl": entry | {"step_time_s": 0.1, "flops_per_token": 20},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content) + "\n", encoding="utf-8")
    argv = [sys.executable, "-c", READING_COMMANDS]
    argv += [str(tmp_path), str(tmp_path / "page.html")]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "page.html").is_file()
    assert "config.train.num_steps = 1" in done.stdout


def test_nothing_reads_pickles_or_yaml():
    wrong = [
        str(file)
        for file, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(a.name for a in node.names)]
        if name in ("pickle", "yaml", "dill", "cloudpickle", "marshal", "shelve")
    ]
    assert not wrong


def test_no_two_files_of_tests_have_one_name():
    """Pytest imports them by their names alone, and refuses the second."""
    files = sorted(pathlib.Path(__file__).parent.rglob("test_*.py"))
    places = {}
    for file in files:
        places.setdefault(file.name, []).append(str(file))
    assert not [own for own in places.values() if len(own) > 1]
