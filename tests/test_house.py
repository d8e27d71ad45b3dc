"""The plan of the house: imports, lengths, words, and what loads jax."""

import ast
import doctest
import graphlib
import json
import pathlib
import re
import subprocess
import sys

import slimjax
from slimjax.tasks import SHARED

PACKAGE = pathlib.Path(slimjax.__file__).parent
FLOORS = [
    {"errors", "lazy", "version"},
    {"paths", "trees"},
    {"memory", "metrics", "native", "processes", "recipes"},
    {"config"},
    {"text"},
    {"nn", "data", "augment"},
    {"models"},
    {"objective"},
    {"budget", "mesh", "store", "tasks"},
    {"strategies", "resize", "distill", "generate", "report"},
    {"train", "predict"},
    {"interop", "run"},
    {"plan", "tune", "compress", "audit"},
    {"api"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50


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


def imported_files(tree: ast.Module, known: set[str]) -> set[str]:
    """Returns the modules that are imported anywhere in a file, for types too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & known) or {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """Returns names that import each other, the first one also at the end."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found():
    assert not find_circle({"a": {"b", "c"}, "b": {"c"}})
    assert set(find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}


def test_no_files_import_each_other_in_a_circle():
    """Neither inside of functions nor for types; the faces of rooms are left out."""
    trees = {
        ".".join(("slimjax", *file.relative_to(PACKAGE).with_suffix("").parts)): tree
        for file, tree in modules().items()
        if file.name != "__init__.py"
    }
    assert len(trees) > 100
    imports = {name: imported_files(tree, set(trees)) for name, tree in trees.items()}
    assert "slimjax.tasks.error" in imports["slimjax.train.programs"]
    assert not find_circle(imports)


def test_training_imports_descriptions_of_models_and_tasks_only():
    allowed = {"slimjax.models.config", "slimjax.tasks.base", "slimjax.tasks.error"}
    found = set()
    for file, tree in modules().items():
        if room_of(file) != "train":
            continue
        for node in ast.walk(tree):
            names = [alias.name for alias in getattr(node, "names", [])]
            if isinstance(node, ast.ImportFrom):
                inside = {f"{node.module}.{name}" for name in names}
                found |= (inside & {"slimjax.models", "slimjax.tasks"}) or {node.module}
            elif isinstance(node, ast.Import):
                found |= set(names)
    found = {name for name in found if name.split(".")[1:2] in (["models"], ["tasks"])}
    assert found == allowed


OF_TEXT = re.compile(r"(?<![A-Za-z])(bos|eos|pad|vocab(ulary)?)(?![a-z])")
"""Words of one kind of data, as parts of names too."""


def test_training_names_nothing_of_text():
    assert OF_TEXT.search("pad_id")
    assert OF_TEXT.search("the vocabulary.")
    assert not list_lines(OF_TEXT, {"train"})


def test_the_rooms_of_a_run_name_no_task():
    tasks = {file.stem for file in (PACKAGE / "tasks").glob("*.py")}
    tasks -= {"__init__", *SHARED}
    assert {"lm", "classification"} <= tasks
    rooms = {"train", "strategies", "resize", "budget", "objective"}
    assert not list_lines(re.compile(rf"\b({'|'.join(tasks)})\b"), rooms)


def list_lines(pattern: re.Pattern, rooms: set[str]) -> list[str]:
    """Returns the lines of some rooms, comments too, in which a pattern is found."""
    files = {file for file in modules() if room_of(file) in rooms}
    assert {room_of(file) for file in files} == rooms
    return [
        f"{file.relative_to(PACKAGE)}: {line.strip()}"
        for file in sorted(files)
        for line in file.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    ]


def strings_of(tree: ast.AST) -> list[str]:
    """Returns the strings of a file, those of its doctests and their results too."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    strings = [node.value for node in nodes if isinstance(node.value, str)]
    for text in list(strings):
        for example in doctest.DocTestParser().get_examples(text):
            strings += strings_of(ast.parse(example.source))
            strings += re.findall(r"[\"'](.*?)[\"']", example.want)
    return strings


def test_only_models_know_what_layers_are_called():
    doc = ast.parse('def f():\n    """>>> f("layer_0")\n    \'layer_1\'\n    """')
    assert {"layer_0", "layer_1"} <= set(strings_of(doc))
    wrong = [
        f"{file.relative_to(PACKAGE)}: {text}"
        for file, tree in modules().items()
        for text in strings_of(tree)
        if re.match(r"layer_(\d|$)", text) and room_of(file) != "models"
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
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = (ast.get_docstring(node, clean=False) or "").count("\n") + 1
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
