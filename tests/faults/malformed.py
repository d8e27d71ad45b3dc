"""Malformed input to every command and loader: what, and how it must be met."""

import dataclasses
import gzip
import io
import json
import shutil
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

from slimjax.cli.main import main
from slimjax.errors import SlimjaxError
from slimjax.train.config import BLOCKS

TINY = str(Path(__file__).parents[2] / "configs" / "tiny_test.py")

CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "brace": b"{",
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "string": b'"a"',
    "nested": b"[" * 100_000,
    "block": b'{"model": 3, "data": [], "train": null}',
    "wrong": b'[{"num_heads": "x", "attention": []}]',
    "line": b'{"step": "x"}\n{"step"\n{"step": {}}\n',
    "numbers": b'{"error": {"valid_bits_per_byte": "x"}, "train": 1, "size": []}',
    "nan": b'{"seed": NaN}',
    "binary": bytes(range(256)) * 8,
    "utf16": '{"seed": 1}'.encode("utf-16"),
    "long": struct.pack("<Q", 1 << 62) + b"{}",
    "header": struct.pack("<Q", 2) + b"{}" + b"\0" * 64,
}
VALUES = ("{}", "[[]]", "NaN", "1e999", "null", '{"a": [1]}')
FILES = ("config.json", "architecture.json", "report.json", "metrics.jsonl")
FILES += ("seams.jsonl", "model.packed.safetensors", "tokenizer/bytes.json")


@dataclasses.dataclass(frozen=True)
class Case:
    """One malformed input.

    Attributes:
        name: What it is.
        call: Runs it, and returns an exit code.
        is_refused: Whether it must be; else it may be put up with.
    """

    name: str
    call: Callable[[], int | None]
    is_refused: bool = True

    def outcome(self) -> str:
        """Returns what is wrong with how it is met; nothing if all is well."""
        out, err = io.StringIO(), io.StringIO()
        out.buffer = io.BytesIO()  # type: ignore[attr-defined]
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = self.call()
        except SlimjaxError as error:
            code = error.exit_code
            err.write(str(error))
        except SystemExit as error:
            return f"{self.name}: exits with {error.code}"
        except BaseException:
            last = traceback.format_exc().strip().splitlines()
            return f"{self.name}: {last[-1]} {last[-3].strip()}"
        if code == 0:
            return f"{self.name}: is not refused" if self.is_refused else ""
        lines = [line for line in err.getvalue().splitlines() if line.strip()]
        lines = [line for line in lines if " 100/100 " not in line]
        if code != 2 or len(lines) != 1:
            return f"{self.name}: code {code}, lines {lines[:3]}"
        return ""


def settings() -> Iterator[Case]:
    """Yields values that no setting takes."""
    for block, cls in BLOCKS.items():
        for field in dataclasses.fields(cls):
            for value in VALUES:
                text = f"--config.{block}.{field.name}={value}"
                if "dict" in str(field.type) and value.startswith("{"):
                    continue
                if "tuple" in str(field.type) and "str" in str(field.type):
                    continue
                argv = ["train", f"--config={TINY}", text, "--dry_run"]
                yield Case(text, lambda argv=argv: main(argv))
    for name in ("seed", "task", "data", "model", "train.num_steps.x", ".", "a..b"):
        for value in VALUES[1:]:
            text = f"--config.{name}={value}"
            argv = ["train", f"--config={TINY}", text, "--dry_run"]
            yield Case(text, lambda argv=argv: main(argv))


def configs(folder: Path) -> Iterator[Case]:
    """Yields config files that are none."""
    codes = {"py": b"x = (", "zero": b"1 / 0", "none": b"get_config = lambda: 3"}
    codes |= {"exit": b"import sys\nsys.exit(3)", "import": b"import nowhere"}
    codes |= {"deep": b"def get_config():\n    return get_config()"}
    for name, content in [*CONTENTS.items(), *codes.items()]:
        suffix = "json" if name in CONTENTS else "py"
        for command in ("train", "sweep"):
            path = folder / f"{name}.{suffix}"
            path.write_bytes(content)
            argv = [command, f"--config={path}", f"--workdir={folder / 'no'}"]
            argv += ["--grid=seed=1"] if command == "sweep" else ["--dry_run"]
            yield Case(" ".join(argv[:2]), lambda argv=argv: main(argv))
    for path in (folder, folder / "missing.json", folder / "x.yaml", "/dev/null"):
        argv = ["train", f"--config={path}", "--dry_run"]
        yield Case(" ".join(argv), lambda argv=argv: main(argv))


def flags(folder: Path, run: Path) -> Iterator[Case]:
    """Yields flags that are wrong."""
    one = f"--workdir={run}"
    lines = [
        ["train"],
        ["sweep", f"--config={TINY}"],
        ["sweep", f"--config={TINY}", f"--workdir={folder / 'no'}", "--grid=x"],
        ["sweep", f"--config={TINY}", f"--workdir={folder / 'no'}", "--grid=seed="],
        ["sweep", f"--config={TINY}", f"--workdir={folder / 'no'}", "--seeds=0"],
        ["sweep", f"--config={TINY}", f"--workdir={folder / 'no'}", "--seeds=x"],
        ["sweep", f"--config={TINY}", f"--workdir={folder / 'no'}", "--equal=x"],
        ["generate", one],
        ["generate", one, "--prompt=a", "--prompts_file=b"],
        ["generate", one, f"--prompts_file={folder / 'nowhere'}"],
        ["generate", one, f"--prompts_file={folder}"],
        ["evaluate", one, "--split=all"],
        ["evaluate", one, "--split=every"],
        ["evaluate", one, "--data=txt:x"],
        ["evaluate", one, "--data=text:/nowhere/*"],
        ["evaluate", one, "--data=jsonl:x"],
        ["report", str(run), str(run)],
        ["report", str(run), "--output=x.pdf"],
        ["report", "/dev/null"],
        ["inspect", "/dev/null"],
        ["inspect", str(folder / "nowhere")],
        ["inspect"],
        ["nonsense"],
        ["train", f"--config={TINY}", "--workdir=/dev/null/x"],
        ["train", f"--config={TINY}", "--workdir=/proc/x"],
    ]
    options = ("max_new_tokens", "temperature", "top_k", "top_p", "seed", "weights")
    for name in options:
        for value in ("x", "-1", "nan", "1e999", ""):
            if (name, value) != ("weights", ""):
                lines.append(["generate", one, "--prompt=a", f"--{name}={value}"])
    for argv in lines:
        yield Case(" ".join(argv), lambda argv=argv: main(argv))


def run_files(folder: Path, run: Path) -> Iterator[Case]:
    """Yields run folders in which one file is something else."""
    for file in FILES:
        for name, content in CONTENTS.items():
            broken = folder / f"{file.replace('/', '-')}-{name}"
            for argv in _readers(file, broken):
                shutil.copytree(run, broken, dirs_exist_ok=True)
                (broken / file).write_bytes(content)
                yield Case(
                    f"{file}={name}: {argv[0]}", lambda argv=argv: main(argv), False
                )
            shutil.rmtree(broken, ignore_errors=True)


def _readers(file: str, broken: Path) -> list[list[str]]:
    """Returns commands that read a file of a run folder."""
    output = f"--output={broken / 'page.html'}"
    commands = [["inspect", str(broken)], ["report", str(broken), output]]
    if file in ("config.json", "architecture.json", *FILES[-2:]):
        generate = ["generate", f"--workdir={broken}", "--prompt=a"]
        commands.append([*generate, "--max_new_tokens=1"])
    return commands


def texts(folder: Path) -> Iterator[Case]:
    """Yields texts that are none, for the loader of a corpus."""
    from slimjax.data.config import DataConfig
    from slimjax.tasks.lm import load as load_rows

    contents = dict(CONTENTS)
    whole = gzip.compress(b"words and words\n\n" * 2000)
    contents |= {"torn.gz": whole[: len(whole) // 2], "not.gz": b"words" * 99}
    contents |= {"null.jsonl": b'{"text": null}\n' * 50}
    contents |= {"other.jsonl": b'{"txt": "a"}\n' * 50}
    contents |= {"number.jsonl": b'{"text": 3}\n[]\n3\n' * 50}
    for name, content in contents.items():
        path = folder / f"text-{name}"
        path.write_bytes(content)
        for source in (f"text:{path}", f"jsonl:{path}#text"):

            def load(source: str = source) -> int:
                data = DataConfig(source, "bytes", seq_len=32, batch_size=8)
                load_rows(data)
                return 0

            yield Case(f"{source[:5]} {name}", load, False)


def packed_files(folder: Path, run: Path, count: int) -> Iterator[Case]:
    """Yields packed models with other bytes."""
    from slimjax.store.packed import read_packed

    whole = (run / "model.packed.safetensors").read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for i in range(count):
        random, content = Random(i), bytearray(whole)
        if i % 3 == 0:
            del content[random.randrange(len(content)) :]
        else:
            end = header if i % 3 == 1 else len(content)
            content[random.randrange(end)] ^= 1 << random.randrange(8)
        path = folder / f"packed-{i}"

        def load(path: Path = path, content: bytes = bytes(content)) -> int:
            path.write_bytes(content)
            read_packed(path)
            return 0

        yield Case(f"packed model {i}", load)


def manifests(folder: Path, run: Path) -> Iterator[Case]:
    """Yields manifests that are sealed well and mean nothing."""
    from slimjax.store.checkpoint import Checkpoints
    from slimjax.store.manifest import MANIFEST, read_manifest, seal

    name = Checkpoints(run / "checkpoints").list()[-1]
    whole = read_manifest(run / "checkpoints" / name)
    broken = folder / "sealed"
    for key in sorted(whole):
        for value in (None, 3, "x", [], {}, [{"a": 1}], {"a": {"b": []}}):

            def read(key: str = key, value: object = value) -> int:
                shutil.rmtree(broken, ignore_errors=True)
                shutil.copytree(run, broken)
                (broken / "report.json").unlink()
                for other in Checkpoints(broken / "checkpoints").list():
                    path = broken / "checkpoints" / other / MANIFEST
                    path.write_text(json.dumps(seal(whole | {key: value})))
                argv = ["generate", f"--workdir={broken}", "--prompt=a"]
                return main([*argv, "--max_new_tokens=1"])

            yield Case(f"manifest.{key}={value}", read, False)


def all_cases(folder: Path, run: Path) -> Iterator[Case]:
    """Yields every case; `run` is a finished run of the tiny config."""
    yield from settings()
    yield from configs(folder)
    yield from flags(folder, run)
    yield from texts(folder)
    yield from packed_files(folder, run, 60)
    yield from run_files(folder, run)
    yield from manifests(folder, run)
