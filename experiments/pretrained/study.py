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
from stored import join, read_moments, read_texts, save_moments, save_texts, thin

from slimjax.compress.config import Request
from slimjax.compress.errors import Error, measure
from slimjax.compress.moments import Moments, collect
from slimjax.compress.row_cut import cut_moments
from slimjax.compress.rows import Rows, Text
from slimjax.compress.settings import Settings, read_settings
from slimjax.compress.slimming import Material, make_material
from slimjax.compress.texts import load_data, read_rows
from slimjax.compress.walk import Walk
from slimjax.models.config import ModelConfig
from slimjax.store.files import write_atomic

NOVELS = ("emma", "mansfield_park", "pride_and_prejudice", "sense_and_sensibility")
PERSUASION, STDLIB, HELD_OUT = "Persuasion", "standard library", "novels, held out"
CALIBRATIONS = {"novels": ("novels",), "both": ("novels", "stdlib")}
MOST_ROWS = 1200
DTYPES = ("float32", "bfloat16")


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
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="in products"
    )
    return parser


@dataclasses.dataclass(frozen=True)
class Study:
    """A model and its texts.

    Attributes:
        flags: What was asked for.
        whole: The model.
        rows: Calibration.
        texts: Held-out rows, by name.
        settings: Those of the model and its text.
        kept: Rows of the vocabulary that are left; None for all.
        num_targets: Targets of the original, by text; errors are divided by them.
    """

    flags: argparse.Namespace
    whole: Material
    rows: Rows
    texts: Mapping[str, Text]
    settings: Settings
    kept: np.ndarray | None
    num_targets: Mapping[str, float]

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
    def conditions(self) -> str:
        """Names what results are calibrated on."""
        few = f"-{self.flags.refit_rows}" if self.flags.refit_rows else ""
        return f"{self.calibration}{few}"

    @property
    def name(self) -> str:
        """Names these, and the rows of the vocabulary if some are gone."""
        own = "" if self.kept is None else f"-vocabulary{len(self.kept)}"
        return f"{self.conditions}{own}"

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
        found = read_moments(path)
        return found if self.kept is None else cut_moments(found, self.kept)

    def errors(self, model: ModelConfig, variables: PyTree) -> dict[str, Error]:
        """Returns the errors of a model per target of the original, by text."""
        return {
            name: measure(model, variables, *text)._replace(
                num_targets=self.num_targets[name]
            )
            for name, text in self.texts.items()
        }

    def original(self) -> dict[str, dict]:
        """Returns the errors of the original, by text."""
        path = self.result_path("original")
        if not path.is_file():
            found = self.errors(self.whole.model, self.whole.variables)
            errors = {name: own.as_dict() for name, own in found.items()}
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
        after = self.errors(model or self.whole.model, variables)
        self.record(name, after, **entry)

    def record(self, name: str, after: Mapping[str, Error], **entry) -> None:
        """Writes the figures of a model.

        Args:
            name: That of the file.
            after: Its errors, by text.
            **entry: What is known beside them.
        """
        before = self.original()
        errors = {
            text: {
                "before": before[text]["perplexity"],
                "after": own.perplexity,
                "ratio": own.perplexity / before[text]["perplexity"],
                "nats": own.nats_per_target - before[text]["nats_per_target"],
            }
            for text, own in after.items()
        }
        kept_rows = 0 if self.kept is None else len(self.kept)
        entry = dict(calibration=self.conditions, kept_rows=kept_rows) | entry
        entry |= {"errors": errors, "dtype": self.flags.dtype, "machine": machine()}
        write(self.result_path(name), entry)
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
    settings = read_settings(make_request(flags))
    path = flags.workdir / "rows.npz"
    if not path.is_file():
        save_texts(path, make_texts(flags, settings))
    texts, model = read_texts(path), settings.model
    parts = [texts[f"{name}, train"].rows for name in CALIBRATIONS[flags.calibration]]
    rows = join([part.at(part.spread(flags.rows)) for part in parts])
    names = (PERSUASION, STDLIB, *([] if flags.few_texts else [HELD_OUT]))
    measured = {name: thin(texts[name], flags.error_rows) for name in names}
    config = dataclasses.replace(model.config, dtype=flags.dtype)
    whole = make_material(config, model.params, {"": flags.length})
    targets = {name: text.rows.num_targets for name, text in measured.items()}
    return Study(flags, whole, rows, measured, settings, None, targets)


def make_request(flags: argparse.Namespace) -> Request:
    """Returns the same as a request to ``slimjax compress``."""
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


def main() -> None:
    """Makes what the other commands share: rows, statistics, the original's errors."""
    study = open_study(make_parser(__doc__).parse_args())
    study.moments()
    print(json.dumps(study.original(), indent=1))


if __name__ == "__main__":
    main()
