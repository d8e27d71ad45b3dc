"""What all figures share: one model, the same tokens for all, statistics, results.

Files in the workdir: ``rows.npz`` (the tokens), ``moments-*.npz`` (statistics) and
``results/*.json``, one for each figure. What is there is not made again.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.compress.config import Request
from slimjax.compress.errors import measure
from slimjax.compress.moments import Moments, collect
from slimjax.compress.rows import Rows, Text
from slimjax.compress.settings import Settings, read_settings
from slimjax.compress.slimming import Material, make_material
from slimjax.compress.texts import load_data, read_rows
from slimjax.compress.walk import Walk
from slimjax.models.config import ModelConfig
from slimjax.store.files import replacing, write_atomic

NOVELS = ("emma", "mansfield_park", "pride_and_prejudice", "sense_and_sensibility")
PERSUASION, STDLIB, HELD_OUT = "Persuasion", "standard library", "novels, held out"
CALIBRATIONS = {"novels": ("novels",), "both": ("novels", "stdlib")}
MOST_ROWS = 1200
KINDS = ("inputs", "means", "slopes")


def make_parser(page: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the flags that all commands have."""
    parser = argparse.ArgumentParser(description=page)
    parser.add_argument("--model", type=Path, required=True, help="a run folder")
    parser.add_argument("--novels", type=Path, required=True, help="folder of *.txt")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--calibration", choices=CALIBRATIONS, default="novels")
    parser.add_argument("--rows", type=int, default=240, help="of each text")
    parser.add_argument("--slope_rows", type=int, default=48, help="of each text")
    parser.add_argument("--refit_rows", type=int, default=0, help="0 for all of them")
    parser.add_argument("--error_rows", type=int, default=36)
    parser.add_argument("--few_texts", action="store_true", help="none of the novels")
    parser.add_argument("--length", type=int, default=512, help="targets of a row")
    return parser


@dataclasses.dataclass(frozen=True)
class Study:
    """A model and its texts.

    Attributes:
        flags: What was asked for.
        whole: The model.
        rows: Calibration.
        texts: Held-out rows, by name.
    """

    flags: argparse.Namespace
    whole: Material
    rows: Rows
    texts: Mapping[str, Text]

    @property
    def walk(self) -> Walk:
        """The model, layer by layer."""
        return Walk(self.whole.model)

    @property
    def calibration(self) -> str:
        """Names the rows that statistics are from."""
        flags = self.flags
        return f"{flags.calibration}-{flags.rows}-{flags.slope_rows}"

    @property
    def name(self) -> str:
        """Names what results are calibrated on."""
        few = f"-{self.flags.refit_rows}" if self.flags.refit_rows else ""
        return f"{self.calibration}{few}"

    @property
    def refit_rows(self) -> Rows:
        """The rows on which weights are refitted."""
        num_rows = self.flags.refit_rows
        return self.rows.at(self.rows.spread(num_rows)) if num_rows else self.rows

    def moments(self) -> Moments:
        """Returns the statistics of the model, from a file if there is one."""
        path = self.flags.workdir / f"moments-{self.calibration}.npz"
        if not path.is_file():
            num_rows = self.flags.slope_rows * len(CALIBRATIONS[self.flags.calibration])
            whole = self.whole.variables
            found = collect(self.walk, whole, self.rows, num_rows, report=Clock())
            save_moments(path, found)
        return read_moments(path)

    def errors(self, model: ModelConfig, variables: PyTree) -> dict[str, dict]:
        """Returns the errors of a model, by text."""
        return {
            name: measure(model, variables, *text).as_dict()
            for name, text in self.texts.items()
        }

    def original(self) -> dict[str, dict]:
        """Returns the errors of the original, by text."""
        path = self.result_path("original")
        if not path.is_file():
            errors = self.errors(self.whole.model, self.whole.variables)
            write(path, {"errors": errors, "sizes": self.whole.sizes()})
        return json.loads(path.read_text())["errors"]

    def result_path(self, name: str) -> Path:
        """Returns the file of a figure."""
        return self.flags.workdir / "results" / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether a figure is there."""
        return self.result_path(name).is_file()

    def write(
        self, name: str, variables: PyTree, model: ModelConfig | None = None, **entry
    ) -> None:
        """Measures a model, and writes its figures.

        Args:
            name: That of the file.
            variables: Those of the model.
            model: Its shape; None for that of the original.
            **entry: What is known beside the errors.
        """
        before = self.original()
        after = self.errors(model or self.whole.model, variables)
        errors = {
            text: {
                "before": before[text]["perplexity"],
                "after": own["perplexity"],
                "ratio": own["perplexity"] / before[text]["perplexity"],
                "nats": own["nats_per_target"] - before[text]["nats_per_target"],
            }
            for text, own in after.items()
        }
        entry |= {"calibration": self.name, "errors": errors}
        write(self.result_path(name), entry | {"machine": machine()})
        ratios = {text: round(own["ratio"], 4) for text, own in errors.items()}
        print(name, ratios, flush=True)


def machine() -> str:
    """Returns the device and the version of JAX."""
    return f"{jax.devices()[0].device_kind}, jax {jax.__version__}"


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, a line for each key, whole or not at all."""
    lines = [f"{json.dumps(key)}: {json.dumps(own)}" for key, own in content.items()]
    write_atomic(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


class Clock:
    """Prints what is done, with the seconds since the start."""

    def __init__(self):
        """Starts."""
        self.start, self.last = time.perf_counter(), ""

    def __call__(self, what: str, fraction: float) -> None:
        """Prints the beginning and the end of each part."""
        if what != self.last or fraction >= 1:
            seconds = time.perf_counter() - self.start
            print(f"{seconds:8.1f} s  {what} {fraction:.0%}", flush=True)
        self.last = what


def open_study(flags: argparse.Namespace) -> Study:
    """Returns the model and the rows; they are made of the texts if need be."""
    flags.workdir.mkdir(parents=True, exist_ok=True)
    settings = read_settings(_request(flags))
    path = flags.workdir / "rows.npz"
    if not path.is_file():
        save_texts(path, make_texts(flags, settings))
    texts, model = read_texts(path), settings.model
    parts = [texts[f"{name}, train"].rows for name in CALIBRATIONS[flags.calibration]]
    rows = join([part.at(part.spread(flags.rows)) for part in parts])
    names = (PERSUASION, STDLIB, *([] if flags.few_texts else [HELD_OUT]))
    measured = {name: thin(texts[name], flags.error_rows) for name in names}
    whole = make_material(model.config, model.params, {"": flags.length})
    return Study(flags, whole, rows, measured)


def thin(text: Text, num_rows: int) -> Text:
    """Returns a text with at most so many rows."""
    rows = text.rows.at(text.rows.spread(num_rows))
    return Text(rows, text.num_bytes * rows.num_targets / text.rows.num_targets)


def _request(flags: argparse.Namespace) -> Request:
    parts = [f"text:{flags.novels / name}.txt" for name in NOVELS]
    length = ("data.seq_len", str(flags.length))
    return Request(
        *(str(flags.model), ",".join(parts), str(flags.workdir / "none"), ("100%",)),
        size="params",
        num_rows=MOST_ROWS,
        num_error_rows=flags.error_rows,
        overrides=(length,),
    )


def make_texts(flags: argparse.Namespace, settings: Settings) -> dict[str, Text]:
    """Returns rows to calibrate on, and rows to measure on, by name."""
    run, model, texts = settings.run, settings.model, {}
    read = lambda *parts: read_rows(run, model.config, *parts)
    for name, source in (("novels", ""), ("stdlib", "stdlib")):
        data = load_data(run, model.codecs, source)
        held_out = HELD_OUT if name == "novels" else STDLIB
        texts[f"{name}, train"] = read(data, "train", MOST_ROWS, name)
        texts[held_out] = read(data, "valid", flags.error_rows, name)
    source = f"text:{flags.novels / 'persuasion.txt'}"
    data = load_data(run, model.codecs, source, held_out=True)
    texts[PERSUASION] = read(data, "valid", flags.error_rows, PERSUASION)
    return texts


def join(parts: list[Rows]) -> Rows:
    """Returns the rows of several texts."""
    inputs = {
        name: np.concatenate([part.inputs[name] for part in parts])
        for name in parts[0].inputs
    }
    targets = np.concatenate([part.targets for part in parts])
    return Rows(inputs, targets, np.concatenate([part.weights for part in parts]))


def save_texts(path: Path, texts: Mapping[str, Text]) -> None:
    """Writes rows of language models as one ``.npz`` file."""
    arrays = {}
    for name, (rows, num_bytes) in texts.items():
        arrays |= {f"{name}/tokens": rows.inputs["tokens"]}
        arrays |= {f"{name}/targets": rows.targets, f"{name}/weights": rows.weights}
        arrays |= {f"{name}/bytes": np.array(num_bytes)}
    _save(path, arrays, np.savez_compressed)


def read_texts(path: Path) -> dict[str, Text]:
    """Returns rows that were saved."""
    with np.load(path) as arrays:
        names = {key.rpartition("/")[0] for key in arrays.files}
        part = lambda name, kind: arrays[f"{name}/{kind}"]
        rows = lambda name: Rows(
            {"tokens": part(name, "tokens")},
            part(name, "targets"),
            part(name, "weights"),
        )
        return {n: Text(rows(n), float(part(n, "bytes"))) for n in names}


def save_moments(path: Path, moments: Moments) -> None:
    """Writes moments as one ``.npz`` file."""
    arrays = {
        f"{kind}/{'.'.join(name)}": value
        for kind in KINDS
        for name, value in getattr(moments, kind).items()
    }
    counts = np.array([moments.num_positions, moments.num_targets])
    _save(path, arrays | {"counts": counts})


def read_moments(path: Path) -> Moments:
    """Returns moments that were saved."""
    moments = Moments()
    with np.load(path) as arrays:
        moments.num_positions, moments.num_targets = arrays["counts"].tolist()
        for key in arrays.files:
            kind, _, name = key.partition("/")
            if kind in KINDS:
                getattr(moments, kind)[tuple(name.split("."))] = arrays[key]
    return moments


def _save(path: Path, arrays: Mapping[str, Any], write: Any = np.savez) -> None:
    with replacing(path) as file:
        write(file, **arrays)


def main() -> None:
    """Makes what the other commands share: rows, statistics, the original's errors."""
    study = open_study(make_parser(__doc__).parse_args())
    study.moments()
    print(json.dumps(study.original(), indent=1))


if __name__ == "__main__":
    main()
