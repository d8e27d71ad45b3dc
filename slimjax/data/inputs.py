"""Inputs alone: what a finished model reads of files or of Python, without targets.

columns = prepare_inputs(config, schema, codecs)
for found in iterate_inputs(config, schema, codecs, "csv:new.csv"):
    ...                                  # An Example, or a BadDocument in its place.
rows = encode_examples(columns, examples)  # Arrays [R *row] by field.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Codec
from slimjax.data.domains import Domains, choose_all_columns, prepare_domain
from slimjax.data.encoding import Prepared, find_problem
from slimjax.data.idx import check_kinds, is_idx, iterate_idx
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.material import Material
from slimjax.data.outline import DOMAIN
from slimjax.data.reads import READS, Reads
from slimjax.data.schema import PAIR, Schema
from slimjax.data.special_tokens import sentence_settings
from slimjax.text import examples as of_text
from slimjax.text.column_checks import check_columns
from slimjax.text.examples import Example
from slimjax.text.fields import Column
from slimjax.text.kinds import OPTIONAL
from slimjax.text.reading import BadDocument
from slimjax.text.sources import Names, parse_sources
from slimjax.text.splits import SPLITS

TEXT = "text"

LEAST_LENGTH = 3
"""Fewest tokens of a row that are taken of a sentence model's settings."""

Found = Iterator[Example | BadDocument]


def prepare_inputs(
    config: DataConfig, schema: Schema, codecs: Mapping[str, Codec]
) -> list[Prepared]:
    """Returns the columns of a task's inputs, for a finished model.

    Args:
        config: The settings of data that the model was trained with.
        schema: What the task reads.
        codecs: Those of the model.
    """
    inputs = choose_inputs(schema, codecs)
    config = dataclasses.replace(config, seq_len=row_length(config, codecs))
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    columns = schema.prepare(Material(config, inputs, splits, codecs))
    domains = codecs.get(DOMAIN)
    if isinstance(domains, Domains):
        return [*columns, prepare_domain(domains, splits)]
    return columns


def row_length(config: DataConfig, codecs: Mapping[str, Codec]) -> int:
    """Returns the tokens of a row, T; an imported sentence model may read fewer.

    Args:
        config: The settings of data that the model was trained with.
        codecs: Those of the model.
    """
    tokenizer = codecs.get("tokens")
    if READS in codecs or not isinstance(tokenizer, JsonTokenizer):
        return config.seq_len
    longest = sentence_settings(tokenizer.files).get("max_seq_length")
    if not isinstance(longest, int) or longest < LEAST_LENGTH:
        return config.seq_len
    return min(config.seq_len, longest)


def iterate_inputs(
    config: DataConfig,
    schema: Schema,
    codecs: Mapping[str, Codec],
    names: Names,
    where: str = "config.data.source",
) -> Found:
    """Yields the examples of sources, in order, without targets.

    What cannot be read is yielded in its place; nothing is raised for it. Tables and
    data sets without a column of the inputs are refused before anything is yielded.

    Args:
        config: How files are read, and what they call the values.
        schema: What the task reads.
        codecs: Those of the model.
        names: The sources. A line of ``text:GLOB`` is an example of one text.
        where: The setting of the sources, for messages.

    Raises:
        ConfigError: If a source holds no examples, or images that the model does not
            read.
        DataError: If there is no such file, or one that lacks a column.
    """
    if is_idx(names):
        check_kinds(choose_inputs(schema, codecs), names, where, {})
        folders = [source.pattern for source in parse_sources(names, where)]
        parts = (iterate_idx(folder, "train", schema.kinds) for folder in folders)
        return (example for part in parts for example in part)
    columns = choose_input_columns(config, schema, codecs)
    options: dict[str, Any] = dict(style=config.style, where=where)
    check_columns(names, columns, **options)
    found = of_text.iterate_inputs(names, columns, **options)
    return _of_one_kind(_check(found, schema), choose_inputs(schema, codecs))


def make_inputs(
    config: DataConfig,
    schema: Schema,
    codecs: Mapping[str, Codec],
    items: Iterable[Any],
    path: str = of_text.IN_MEMORY,
) -> Found:
    """Yields examples of Python values: texts, or mappings with the files' names.

    Args:
        config: What files call the values.
        schema: What the task reads.
        codecs: Those of the model.
        items: The values.
        path: Stands for a file in messages.
    """
    columns = choose_input_columns(config, schema, codecs)
    options = dict(path=path, image_dir=config.image_folder)
    found = of_text.make_inputs(items, columns, **options)
    return _of_one_kind(_check(found, schema), choose_inputs(schema, codecs))


def check_inputs(columns: list[Prepared], found: Found) -> Found:
    """Yields what is found, and what is wrong in place of what cannot be encoded."""
    for one in found:
        yield (find_problem(columns, one) or one) if isinstance(one, Example) else one


def choose_kinds(schema: Schema, codecs: Mapping[str, Codec]) -> dict[str, str]:
    """Returns the kinds that a model was trained on, none of them optional.

    A pretrained model, which says nothing of that, reads texts, and pairs of texts
    where there are some.
    """
    reads = codecs.get(READS)
    if isinstance(reads, Reads):
        return schema.choose_kinds(reads.names)
    has_input = set(schema.inputs) - set(schema.optional)
    chosen = schema.choose_kinds(() if has_input else (TEXT,))
    return schema.with_pairs(chosen) if has_input else chosen


def choose_inputs(schema: Schema, codecs: Mapping[str, Codec]) -> dict[str, str]:
    """Returns the names and kinds of the inputs that a model was trained on."""
    kinds = choose_kinds(schema, codecs)
    return {name: kinds[name] for name in schema.inputs if name in kinds}


def choose_input_columns(
    config: DataConfig, schema: Schema, codecs: Mapping[str, Codec]
) -> list[Column]:
    """Returns where the inputs that a model was trained on stand in files."""
    inputs = choose_inputs(schema, codecs)
    has_domains = DOMAIN in codecs
    return choose_all_columns(
        inputs, config.fields, header=config.header, has_domains=has_domains
    )


def _check(found: Found, schema: Schema) -> Found:
    for one in found:
        yield (schema.check(one) or one) if isinstance(one, Example) else one


def _of_one_kind(found: Found, kinds: Mapping[str, str]) -> Found:
    """Yields what is found; of each file, texts alone or pairs alone.

    The first example of a file says which. What is wrong stands in place of others.
    """
    if not kinds.get(PAIR, "").endswith(OPTIONAL):
        yield from found
        return
    has_pairs: dict[str, bool] = {}
    for one in found:
        if isinstance(one, Example):
            is_pair = PAIR in one.values
            if has_pairs.setdefault(one.path, is_pair) != is_pair:
                has, first = ("a", "none") if is_pair else ("no", "one")
                one = one.bad(
                    "missing_field",
                    f"has {has} field {PAIR}, and the first example there has {first}. "
                    "Write single texts and pairs into different files.",
                )
        yield one
