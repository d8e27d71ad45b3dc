"""Shape, style, tokenizer and images of a run that starts from another run's weights.

They are read from the folder that ``config.model.init_from`` names, before any data. A
run that has a checkpoint of its own reads them from its own folder, so that the other
one may be gone by then.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

from slimjax.config import build
from slimjax.data.codecs import Codecs, load_codecs, with_normalize
from slimjax.data.dataset import Codec
from slimjax.data.image_table import IMAGE, ImageShape
from slimjax.data.outline import DOMAIN
from slimjax.data.pairs import SOURCE
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokenizer_choice import choose_tokenizer
from slimjax.errors import ConfigError
from slimjax.generate.stored import read_model_config
from slimjax.models.architecture import read_architecture
from slimjax.models.build import build_model
from slimjax.models.config import ModelConfig, ModelSettings
from slimjax.models.head import HeadConfig
from slimjax.models.settings import STYLED
from slimjax.paths import printable
from slimjax.run.init_images import check_images, settings_in, settings_of
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig

HERE = ("attention_impl", "remat", "scan_layers")
"""Settings of how this machine computes: they are never taken from a folder."""

FREE = (*HERE, "dtype", "dropout", "drop_connect", "pool", "pooler")
"""Settings that may differ from those of the folder."""

TOKENS, TRAINED = "tokens", "sentencepiece"


def take_shape(run: RunConfig, folder: RunFolder | None = None) -> RunConfig:
    """Returns a run with the shape, style, tokenizer and images of ``model.init_from``.

    Args:
        run: The config; one that does not start from a folder is returned as it is.
        folder: The run's own folder, if it has one.

    Raises:
        ConfigError: If there is no run in that folder, or if the config states a
            setting that differs.
        CheckpointError: If files of that folder are damaged.
    """
    if not run.model.init_from:
        return run
    source = find_source(run, folder)
    config, codecs = _read(source)
    model, block = read_model_config(source, codecs), config.get("model", {})
    is_own = source is folder  # Then the model may be smaller than at its start.
    if is_own and not block.get("init_from"):
        raise ConfigError(
            f"{_name(run)}, but the run in {source.root} has weights of its own. Leave "
            "the setting out, or name a new --workdir."
        )
    start = block.get("architecture") if is_own else read_json(source.architecture)
    settings = _merge(run, block, _without_bits(start))
    data = run.data
    if TOKENS in codecs:
        _check_tokenizer(run, cast(Tokenizer, codecs[TOKENS]), config.get("data", {}))
        _check_length(run, model)
        data = dataclasses.replace(data, **_tokenizing(source, codecs))
    if IMAGE in codecs:
        shape = cast(ImageShape, codecs[IMAGE])
        known = settings_in(config.get("data", {})) if is_own else settings_of(shape)
        check_images(run, known, _name(run))
        data = dataclasses.replace(data, **known)
    return dataclasses.replace(run, model=settings, data=data)


def _read(source: RunFolder) -> tuple[dict[str, Any], Codecs]:
    """Returns the config and the codecs of a run folder."""
    config = read_json(source.config, dict)
    return config, with_normalize(load_codecs(source.tokenizer), config)


def _tokenizing(source: RunFolder, codecs: Codecs) -> dict[str, Any]:
    """Returns the settings that stand for a folder's tokenizers.

    One is named by its place. Two, of sources and targets, have no place that a setting
    could name: they are handed over by `input_codecs`.
    """
    size = cast(Tokenizer, codecs[TOKENS]).vocab_size
    if SOURCE not in codecs:
        return dict(tokenizer=str(source.tokenizer), vocab_size=size)
    own = cast(Tokenizer, codecs[SOURCE]).vocab_size
    return dict(tokenizer=TRAINED, vocab_size=size, source_vocab_size=own)


def find_source(run: RunConfig, folder: RunFolder | None) -> RunFolder:
    """Returns the folder that describes the model: the run's own once it has begun.

    Raises:
        ConfigError: If there is no run in the folder that the config names.
    """
    if folder is not None and folder.checkpoint_names:
        return folder
    source = RunFolder(run.model.init_from)
    if not source.holds_run:
        raise ConfigError(
            f"{_name(run)} is not the folder of a run: it has no config.json. Name the "
            "--workdir of one."
        )
    return source


def input_codecs(run: RunConfig, folder: RunFolder | None = None) -> dict[str, Codec]:
    """Returns the codecs of inputs that a config cannot name.

    These are how features are scaled, the shape of images, the names of domains, and
    two tokenizers. A single tokenizer is named by the config; labels belong to the
    data.
    """
    if not run.model.init_from:
        return {}
    source = find_source(run, folder)
    config, codecs = _read(source)
    has_adapters = config.get("model", {}).get("adapters")
    own = (DOMAIN,) if has_adapters else ()
    own += (TOKENS, SOURCE) if SOURCE in codecs else ()
    names = ("features", IMAGE, *own)
    return {name: codec for name, codec in codecs.items() if name in names}


def _name(run: RunConfig) -> str:
    return f"config.model.init_from='{printable(run.model.init_from)}'"


def _without_bits(entries: Any) -> Any:
    if isinstance(entries, list):
        return [{k: v for k, v in entry.items() if k != "bits"} for entry in entries]
    towers = {
        name: {k: v for k, v in tower.items() if k != "bits"}
        | {"layers": _without_bits(tower["layers"])}
        for name, tower in entries["towers"].items()
    }
    return {"towers": towers}


def _merge(
    run: RunConfig, block: Mapping[str, Any], architecture: Any
) -> ModelSettings:
    """Returns the settings of the folder with those that the config may choose."""
    plain = {**block, "architecture": "", "init_from": ""}
    source = build(ModelSettings, plain, f"{_name(run)}: config.model")
    given = {
        name.removeprefix("model."): value
        for name, value in run.stated.items()
        if name.startswith("model.")
    }
    known = {field.name for field in dataclasses.fields(ModelSettings)}
    free = {*FREE} if source.adapters else {*FREE, "adapters"}  # They may be added.
    for name in (known & given.keys()) - free:
        _check_same(run, source, name, given.pop(name), architecture)
    default = ModelSettings()
    settings = dataclasses.asdict(source)
    settings |= {name: getattr(default, name) for name in HERE}
    settings |= {"init_from": run.model.init_from, "architecture": architecture}
    return build(ModelSettings, settings | given, "config.model")


def _check_same(
    run: RunConfig, source: ModelSettings, name: str, value: Any, architecture: Any
) -> None:
    """Refuses a stated setting of the shape that is not that of the folder."""
    if name == "architecture":
        entries = (
            read_architecture(value) if value and isinstance(value, str) else value
        )
        is_same, has = (
            not value or _without_bits(entries) == architecture,
            "another one",
        )
    else:
        is_same = value == getattr(source, name) or _same_shape(source, name, value)
        style = source.full_style if name in STYLED else source
        has = repr(getattr(style, name))
    if not is_same:
        raise ConfigError(
            f"config.model.{name}={value!r}, but the model of {_name(run)} has {has}. "
            "Leave the setting out, or start from fresh weights."
        )


def _same_shape(source: ModelSettings, name: str, value: Any) -> bool:
    """Returns whether a model is the same with another value of a setting."""
    try:
        plain = dataclasses.asdict(source) | {name: value}
        return _shape(build(ModelSettings, plain, "config.model")) == _shape(source)
    except ConfigError:
        return False


def _shape(settings: ModelSettings) -> ModelConfig:
    """Returns the model of some data; which data does not matter."""
    sizes, lengths = defaultdict(lambda: 8), {"": 8}
    return build_model(settings, sizes, (HeadConfig("answer", 2),), lengths)


def _check_tokenizer(
    run: RunConfig, tokenizer: Tokenizer, block: Mapping[str, Any]
) -> None:
    """Refuses a stated tokenizer that is not that of the folder."""
    size = run.stated.get("data.vocab_size")
    if size not in (None, tokenizer.vocab_size, block.get("vocab_size")):
        raise ConfigError(
            f"config.data.vocab_size={size!r}, but the tokenizer of {_name(run)} has "
            f"{tokenizer.vocab_size} tokens. Leave the setting out."
        )
    own = run.stated.get("data.source_vocab_size")
    if own not in (None, block.get("source_vocab_size", 0)):
        raise ConfigError(
            f"config.data.source_vocab_size={own!r}, but {_name(run)} has "
            f"{block.get('source_vocab_size', 0)}. Leave the setting out."
        )
    stated = run.stated.get("data.tokenizer")
    if stated in (None, block.get("tokenizer")):
        return
    other = dataclasses.replace(run.data, tokenizer=stated)
    if stated != TRAINED:  # That one would be trained, hence another.
        found = choose_tokenizer(other, [], lambda *_: None)
        if found.fingerprint == tokenizer.fingerprint:
            return
    raise ConfigError(
        f"config.data.tokenizer={stated!r} is another tokenizer than that of "
        f"{_name(run)}. Leave the setting out."
    )


def _check_length(run: RunConfig, model: ModelConfig) -> None:
    """Refuses rows that are longer than the model's table of positions."""
    places = model.main.num_positions
    if places and run.data.seq_len > places:
        raise ConfigError(
            f"config.data.seq_len={run.data.seq_len} is more than the {places} "
            f"positions that the model of {_name(run)} knows. Set {places} or less."
        )
