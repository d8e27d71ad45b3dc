"""Folders of the Hugging Face form: settings, weights and a tokenizer, without torch.

What would run code (pickles, classes of its own), what holds only a part of a model
(adapters), and what we would have to guess (quantized weights) is refused by name.
"""

import json
from pathlib import Path
from typing import Any

from slimjax.data.json_tokenizer import JSON_FILE, KEPT_FILES
from slimjax.errors import DataError
from slimjax.interop.foreign import Foreign, Source, Tensor
from slimjax.interop.tensor_files import digest_of, read_tensor_file
from slimjax.paths import printable, user_path

CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
MAX_JSON_BYTES = 1 << 26
MAX_FILE_BYTES = 1 << 28
"""Longest file beside the weights that is read; tokenizers have some megabytes."""


def read_folder(path: str | Path, *, needs_tokenizer: bool = True) -> Foreign:
    """Returns the model in a folder; the numbers of its weights are not read yet.

    Args:
        path: A folder with ``config.json``, ``model.safetensors`` (or an index and its
            parts) and ``tokenizer.json``.
        needs_tokenizer: Whether a folder without ``tokenizer.json`` is refused.

    Raises:
        DataError: If it is no such folder, naming the file and what is wrong.
    """
    folder = user_path(path, "--input")
    where = printable(folder)
    if not folder.is_dir():
        raise DataError(f"--input={where} is not a folder with a config.json.")
    for name in ADAPTERS:
        if (folder / name).exists():
            raise DataError(
                f"--input={where} holds an adapter (LoRA), {name}, and no whole model. "
                "Merge it into its model first, and save that."
            )
    config = read_object(folder / CONFIG)
    _check_config(config)
    paths = _find_weights(folder)
    tensors = _read_weights(folder, paths)
    if needs_tokenizer and not (folder / JSON_FILE).is_file():
        raise DataError(
            f"--input={where} has no {JSON_FILE}. Make one: load the tokenizer with "
            "transformers' AutoTokenizer, and save it."
        )
    files = _read_files(folder)
    source = Source(str(path), *digest_of(paths))
    return Foreign(config, tensors, files, source)


def read_object(path: Path) -> dict[str, Any]:
    """Returns the object that a JSON file holds.

    Raises:
        DataError: If it is missing, damaged, far too large, or holds something else.
    """
    name = printable(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{name} is far too large.")
        content = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise DataError(f"{name} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{name} cannot be read: {str(error)[:200]}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{name} does not hold a JSON object.")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _check_config(config: dict[str, Any]) -> None:
    """Refuses models that need what we do not have."""
    if config.get("quantization_config") is not None:
        method = config["quantization_config"]
        kind = method.get("quant_method") if isinstance(method, dict) else method
        raise DataError(
            f"config.json: quantization_config ({kind!r:.40}) is not supported: its "
            "weights have a layout of their own. Take the unquantized model."
        )
    if config.get("auto_map"):
        raise DataError(
            "config.json: auto_map names classes whose code would have to be run, "
            "which is not supported. Take a model of a class of transformers itself."
        )


def _find_weights(folder: Path) -> list[Path]:
    """Returns the files of the weights: one, or those that an index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return [folder / name for name in sorted(set(_read_index(folder).values()))]
    pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
    if pickles:
        raise DataError(
            f"{printable(folder / pickles[0])} can run code when it is read, so it is "
            "not. Save the model as safetensors: save_pretrained writes them."
        )
    raise DataError(f"{printable(folder)} has no {WEIGHTS} and no {INDEX}.")


def _read_index(folder: Path) -> dict[str, str]:
    """Returns the file of each tensor, by the index of a model in parts."""
    found = read_object(folder / INDEX).get("weight_map")
    where = printable(folder / INDEX)
    if not isinstance(found, dict) or not found:
        raise DataError(f"{where} has no weight_map.")
    for name, file in found.items():
        is_name = isinstance(file, str) and file == Path(file).name
        if not is_name or file in (".", "..") or "\\" in file or "\0" in file:
            raise DataError(
                f"{where}: the tensor {name!r:.80} is in {file!r:.80}, which is not "
                "a file of this folder."
            )
        if not file.endswith(".safetensors"):
            raise DataError(f"{where}: {file!r:.80} is not a safetensors file.")
        if not (folder / file).is_file():
            raise DataError(f"{where} names {file!r:.80}, which is missing.")
    return found


def _read_weights(folder: Path, paths: list[Path]) -> dict[str, Tensor]:
    """Returns the tensors of all files, each in the file that the index names."""
    is_whole = paths == [folder / WEIGHTS]
    index = {} if is_whole else _read_index(folder)
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = read_tensor_file(path)
        named = {n for n, file in index.items() if file == path.name} or set(found)
        odd = sorted(set(found) ^ named)
        if odd:
            what = "holds" if odd[0] in found else "lacks"
            raise DataError(
                f"{printable(path)} {what} the tensor {odd[0]!r:.80}, otherwise than "
                f"{INDEX} says."
            )
        tensors |= found
    return tensors


def _read_files(folder: Path) -> dict[str, bytes]:
    """Returns the files of the tokenizer, and others that are kept."""
    files = {}
    for name in (JSON_FILE, *KEPT_FILES):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{printable(path)} is far too large.")
        files[name] = path.read_bytes()
    return files
