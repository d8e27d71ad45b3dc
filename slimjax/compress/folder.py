"""The run folder of a compressed model: whole, or not there."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.data.codecs import Codecs, save_codecs
from slimjax.data.domain_config import PLAIN
from slimjax.interop.run_folders import check_new, new_folder
from slimjax.models.config import ModelConfig
from slimjax.nn.grids import Grid, Scales
from slimjax.nn.packing import key_in
from slimjax.nn.quantize import Precision, bit_key, is_matrix
from slimjax.objective.inventory import Bits
from slimjax.paths import user_path
from slimjax.store.files import read_json, write_json
from slimjax.store.packed import write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.trees import AxisNames, flatten
from slimjax.trees import Path as PathNames


def check_free(root: Path) -> Path:
    """Returns a folder that is to be made, as a path.

    Raises:
        ConfigError: If something is there already.
    """
    path = user_path(root, "--workdir")
    check_new(path, "--workdir")
    return path


def bits_by_unit(bits: Bits, axes: Mapping[PathNames, AxisNames]) -> Bits:
    """Returns the bits of units: those that most of a unit's matrices have.

    Args:
        bits: By shared key, or by path of a weight.
        axes: Names of the axes of all weights.
    """
    found: dict[PathNames, list[np.ndarray]] = {}
    for path, names in axes.items():
        own = bits[key_in(bits, path, names)]
        found.setdefault(bit_key(path, names), []).append(own)
    middle = lambda columns: np.sort(columns, axis=0)[len(columns) // 2]
    return {key: middle(np.array(columns)) for key, columns in found.items()}


def bits_by_matrix(
    bits: Bits, axes: Mapping[PathNames, AxisNames]
) -> dict[str, list[int]]:
    """Returns the different bits that each matrix has, by its dotted path."""
    return {
        ".".join(path): np.unique(bits[key_in(bits, path, names)]).tolist()
        for path, names in axes.items()
        if is_matrix(names)
    }


class Result:
    """A compressed model, about to be written."""

    def __init__(
        self,
        model: ModelConfig,
        weights: PyTree,
        names: PyTree,
        precision: Precision,
        scales: Mapping[PathNames, Scales],
        grid: Grid,
    ):
        """Takes what a packed file holds.

        Args:
            model: Its shape.
            weights: The weights, on their levels.
            names: Names of their axes.
            precision: Bits of their units.
            scales: Where the levels of those that were rounded lie, by path.
            grid: Which elements share a step.
        """
        self.model, self.weights, self.names = model, weights, names
        self.precision, self.scales, self.grid = precision, scales, grid

    def pack(self, path: Path) -> int:
        """Writes the packed file, and returns its size in bytes."""
        return write_packed(
            *(path, self.weights, self.names, self.precision, self.grid),
            scales=self.scales,
        )

    def write(
        self,
        root: Path,
        source: RunFolder,
        bits: Bits | None,
        report: dict[str, Any],
        codecs: Codecs | None = None,
        export: Callable[[Path], dict[str, Any]] | None = None,
    ) -> None:
        """Writes a finished run folder in one step.

        Args:
            root: The folder, which is empty or not there.
            source: Folder of the original, whose settings and tokenizer are copied.
            bits: Bits of units or of single weights; None if nothing was rounded.
            report: Content of ``report.json``; the size of the file is added, and the
                bits of each matrix.
            codecs: Those of the result; None for the original's.
            export: Writes another file into the folder, and returns what the report
                says of it; None for no such file.
        """
        with new_folder(root, "--workdir") as made:
            folder = RunFolder(made)
            config = read_json(source.config, dict)
            own = {**config.get("data", {}), **PLAIN}
            own["source"] = report["data"]["source"]
            if codecs is None:
                shutil.copytree(source.tokenizer, folder.tokenizer)
            else:
                folder.tokenizer.mkdir()
                save_codecs(codecs, folder.tokenizer)
                own["vocab_size"] = self.model.vocab_size
            write_json(folder.config, config | {"data": own})
            axes = flatten(self.names)
            shown = None if bits is None else bits_by_unit(bits, axes)
            write_json(folder.architecture, self.model.architecture(shown))
            if bits is not None:
                report["compress"]["bits_by_matrix"] = bits_by_matrix(bits, axes)
            report["size"]["packed_file_bytes"] = self.pack(folder.packed)
            folder.seams.append(report["compress"]["seam"])
            (made / "metrics.jsonl").touch()
            write_json(folder.report, report)
            if export is not None:
                report["gguf"] = export(made)
                write_json(folder.report, report)
