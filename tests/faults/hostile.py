"""Files that want more than to be read: what they try, and what came of it."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from slimjax.cli.main import main
from slimjax.store.manifest import MANIFEST, file_table, read_manifest, seal

Attack = Callable[[Path, Path], None]
"""Changes a run folder, its first argument; the second is outside of it."""


def pickle_that_touches(path: Path) -> bytes:
    """Returns a pickle that makes a file when it is loaded (protocol 0, by hand)."""
    return f"cposix\nsystem\n(S'touch {path}'\ntR.".encode()


def yaml_that_touches(path: Path) -> bytes:
    return f'!!python/object/apply:os.system ["touch {path}"]\n'.encode()


def _newest(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1]


def _plant(name: str, make: Callable[[Path], bytes]) -> Attack:
    def attack(run: Path, outside: Path) -> None:
        (run / name).write_bytes(make(outside / "executed"))

    return attack


def _plant_in_checkpoint(name: str, *, is_sealed: bool) -> Attack:
    """Puts a pickle in the place of a checkpoint's file, and seals it well."""

    def attack(run: Path, outside: Path) -> None:
        folder = _newest(run)
        manifest = read_manifest(folder)
        (folder / name).write_bytes(pickle_that_touches(outside / "executed"))
        if is_sealed:
            manifest["files"] = file_table(folder / "state")
            (folder / MANIFEST).write_text(json.dumps(seal(manifest)))

    return attack


def _change_manifest(key: str, value: object) -> Attack:
    def attack(run: Path, outside: Path) -> None:
        folder = _newest(run)
        text = json.dumps(value).replace("OUTSIDE", str(outside))
        manifest = read_manifest(folder) | {key: json.loads(text)}
        (folder / MANIFEST).write_text(json.dumps(seal(manifest)))

    return attack


def _link(name: str, target: str) -> Attack:
    """Makes a file or folder of the run a link out of it."""

    def attack(run: Path, outside: Path) -> None:
        path, there = run / name, outside / target
        if path.exists():
            os.rename(path, there)
        path.symlink_to(there)

    return attack


def _link_checkpoint(run: Path, outside: Path) -> None:
    newest = _newest(run)
    os.rename(newest, outside / "checkpoint")
    newest.symlink_to(outside / "checkpoint")


def _link_array(run: Path, outside: Path) -> None:
    path = _newest(run) / "state" / "_METADATA"
    os.rename(path, outside / "metadata")
    path.symlink_to(outside / "metadata")


def _huge_header(run: Path, outside: Path) -> None:
    del outside
    (run / "model.packed.safetensors").write_bytes(
        struct.pack("<Q", 90_000_000) + b'{"a":' + b" " * 1000
    )


def _huge_json(name: str) -> Attack:
    def attack(run: Path, outside: Path) -> None:
        del outside
        with (run / name).open("wb") as file:
            file.truncate(1 << 31)  # Sparse: it costs the disk nothing.

    return attack


def _tensors(names: list[str]) -> Attack:
    """Writes a packed model with names that are paths."""

    def attack(run: Path, outside: Path) -> None:
        del outside
        entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        header = json.dumps(dict.fromkeys(names, entry)).encode()
        content = struct.pack("<Q", len(header)) + header + b"\0" * 4
        (run / "model.packed.safetensors").write_bytes(content)

    return attack


FILES = ("config.json", "architecture.json", "report.json", "metrics.jsonl")
FILES += ("seams.jsonl", "tokenizer/tokenizer.json", "model.packed.safetensors")
FILES += ("state.pkl", "tokenizer/tokenizer.model", "tokenizer/bytes.json")
LINKED = ("metrics.jsonl", "seams.jsonl", ".lock", "events", "tokenizer")
LINKED += ("checkpoints", "config.json", "report.html", "model.packed.safetensors")
STATE_FILES = ("state/_METADATA", "state/_sharding", "state/manifest.ocdbt")
ATTACKS: dict[str, Attack] = {
    **{f"pickle as {name}": _plant(name, pickle_that_touches) for name in FILES},
    **{
        f"yaml as {name}": _plant(name, yaml_that_touches)
        for name in (*FILES[:3], "config.yaml", "tokenizer/tokenizer.json")
    },
    **{
        f"pickle as {name}, {'sealed' if is_sealed else 'plain'}": _plant_in_checkpoint(
            name, is_sealed=is_sealed
        )
        for name in (*STATE_FILES, "state/extra.pkl")
        for is_sealed in (False, True)
    },
    "manifest names files outside": _change_manifest(
        "files", {"../../../outside/work": [4, 1], "OUTSIDE/work": [4, 1]}
    ),
    "manifest names leaves by paths": _change_manifest(
        "leaves", {"../../work": {"shape": [1], "dtype": "float32", "crc32": 1}}
    ),
    "manifest asks for huge layers": _change_manifest(
        "architecture", [{"num_heads": 1 << 40, "mlp_dim": 1 << 40}]
    ),
    "manifest counts a huge step": _change_manifest("step", 1 << 80),
    "packed names are paths": _tensors(["../../work", "/etc/passwd", "a/../../b"]),
    "huge header": _huge_header,
    **{
        f"huge {name}": _huge_json(name)
        for name in ("config.json", "architecture.json", "report.json")
    },
    **{f"{name} is a link": _link(name, "linked") for name in LINKED},
    "a checkpoint is a link": _link_checkpoint,
    "a file of a checkpoint is a link": _link_array,
}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Returns the content of all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def harm_of(name: str, run: Path, folder: Path) -> str:
    """Returns what an attack has done; nothing if it has done no harm.

    Args:
        name: Of the attack.
        run: A finished run, which is copied, so that its report is missing.
        folder: An empty one to work in.
    """
    copy, outside = folder / "run", folder / "outside"
    shutil.copytree(run, copy)
    outside.mkdir()
    (outside / "work").write_text("work")
    if "report" not in name and "packed" not in name and "header" not in name:
        (copy / "report.json").unlink()
    ATTACKS[name](copy, outside)
    before = snapshot(outside)
    commands = [
        ["inspect", str(copy)],
        ["generate", f"--workdir={copy}", "--prompt=a", "--max_new_tokens=1"],
        ["train", f"--config={copy / 'config.json'}", f"--workdir={copy}"],
    ]
    for argv in commands:
        code = main(argv)
        if code not in (0, 2, 3):
            return f"{argv[0]} ends with {code}"
    if snapshot(outside) != before:
        return "what is outside has changed"
    return ""
