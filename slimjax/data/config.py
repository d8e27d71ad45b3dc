"""The settings of data: where it comes from, and how it becomes batches."""

import dataclasses
import itertools
from typing import Any

from slimjax.data.domain_config import DomainSettings
from slimjax.data.image_config import ImageSettings, check_normalize
from slimjax.errors import ConfigError, suggest
from slimjax.text.corpus import check_field
from slimjax.text.encodings import UTF8, check_encoding
from slimjax.text.files import show
from slimjax.text.records import Format
from slimjax.text.sources import parse_sources
from slimjax.text.survey import Reading

TOKENIZERS = ("sentencepiece", "bytes")
PIECES = ("", "words", "phrases")
ON_BAD = ("error", "skip")
ON_BAD_EXAMPLE = (*ON_BAD, "repair")
ON_DUPLICATE = ("group", "drop", "keep")
NUM_RESERVED = 260  # 4 specials and 256 bytes: no text is ever unknown.
MIN_VOCAB_SIZE = NUM_RESERVED + 4  # Then some room for characters and pieces.
MAX_SIZE = 1 << 20

PLACES = ("source", "valid_source", "test_source", "domains", "encoding")
PLACES += ("tfds_dir", "image_dir")
"""Settings whose effect is part of a dataset's fingerprint: while that is the same,
they may change when a run is resumed, such as after files were moved."""

TOKENIZING = ("tokenizer", "vocab_size", "source_vocab_size")
"""Settings that decide what tokens a text has."""


_OF_EXAMPLES = ("group_field", "stratify", "buckets", "domains")
"""Settings that plain text does not know."""


@dataclasses.dataclass(frozen=True)
class DataConfig(ImageSettings, DomainSettings):
    """Everything that decides which batches a run reads, but for the seed.

    Attributes:
        source: ``stdlib``, ``text:GLOB``, ``jsonl:GLOB#field``, ``csv:GLOB#column``,
            ``conll:GLOB``, ``squad:GLOB``, ``parallel:GLOB,GLOB``, ``images:DIR``,
            ``coco:GLOB``, ``idx:DIR`` or ``tfds:NAME``; or a list of them.
        tokenizer: ``sentencepiece`` (trained on the text), ``bytes``, or a path: of a
            ``tokenizer.json`` file, of its folder, of a SentencePiece ``.model``, or of
            the folder ``tokenizer`` of a run.
        vocab_size: Pieces of the trained tokenizer; ``bytes`` always has 259. Labelled
            texts that do not support so many get as many as they do.
        pieces: ``words`` or ``phrases``: whether trained pieces are parts of words, or
            may cross spaces. Empty for what suits the task: phrases to predict text,
            words to mask, label or translate it.
        seq_len: Tokens per row; of a source, where a target is written for it.
        target_len: Tokens per row of what is written for a source; 0 means seq_len.
        one_row: Whether a source and its target stand in one row, for a decoder, which
            writes the target after the source.
        source_vocab_size: Pieces of a tokenizer of its own for sources; 0 means that
            sources and targets share one.
        buckets: Lengths to which training batches of labelled examples are cut, such as
            ``[32, 64]``; ``seq_len`` is always the last. A batch holds rows that fit
            into one length. Other inputs of a row are cut in proportion.
        batch_size: Rows per step, over all devices.
        whole_words: Whether masked language modelling hides all tokens of a word
            together.
        valid_fraction: Fraction of the documents for validation: seams and settings are
            chosen by them, and nothing is trained on them.
        test_fraction: Fraction of the documents that are measured only at the end.
        num_folds: Parts for cross-validation; 1 for none. All documents outside the
            test split are dealt into so many parts, of which one is for validation, in
            place of `valid_fraction`. The test split is the same for all of them.
        fold: Which part is for validation, from 0.
        on_bad_document: ``error`` refuses unreadable text; ``skip`` leaves it out and
            counts it.
        fields: Names in the files of what a task reads, such as
            ``{"text": "review", "label": "stars"}``. Columns of a table without a
            header are numbers, or ranges such as ``"0:784"``.
        header: Whether the first row of a table names its columns.
        delimiter: Character between the columns of a table; by default a tab in
            ``.tsv`` and ``.tab`` files, otherwise a comma.
        quote: Character around table values that contain a delimiter; ``""`` for none.
        encoding: Encoding of text files, such as ``gb18030``.
        valid_source: Source of the valid split; empty means that it is drawn from
            ``source``.
        test_source: Source of the test split; empty means that it is drawn from
            ``source``.
        on_duplicate: What happens to labelled examples with equal input: ``group``
            keeps them in one split, ``drop`` keeps only the first (and none if their
            labels differ), ``keep`` draws a split for each. With a split of its own
            source, copies of its examples leave the training split, unless ``keep``.
        group_field: Field of the files whose equal values keep examples in one split,
            such as the name of an author or a page; empty for none.
        stratify: Whether splits are drawn so that each class has its share in them.
        on_bad_example: ``error`` refuses an unreadable labelled example; ``skip``
            leaves it out and counts it; ``repair`` reads a tag that goes on with
            nothing, such as I- without B-, as one that begins, and refuses all else.
        normalize: Mean and standard deviation by which features and images are scaled,
            ``(x - mean) / deviation``. Bytes of images are divided by 255 before. For
            images also a mean of each channel, and then a deviation of each.
        tfds_dir: Folder of prepared data sets of TensorFlow Datasets; by default the
            environment variable ``TFDS_DATA_DIR``.

    Raises:
        ConfigError: If a value is invalid.
    """

    source: str | tuple[str, ...] = "stdlib"
    tokenizer: str = "sentencepiece"
    vocab_size: int = 2048
    pieces: str = ""
    seq_len: int = 128
    buckets: tuple[int, ...] = ()
    target_len: int = 0
    one_row: bool = False
    source_vocab_size: int = 0
    batch_size: int = 16
    whole_words: bool = False
    valid_fraction: float = 0.05
    test_fraction: float = 0.05
    num_folds: int = 1
    fold: int = 0
    on_bad_document: str = "error"
    fields: dict = dataclasses.field(default_factory=dict)
    header: bool = True
    delimiter: str = ""
    quote: str = '"'
    encoding: str = UTF8
    valid_source: str | tuple[str, ...] = ""
    test_source: str | tuple[str, ...] = ""
    on_duplicate: str = "group"
    group_field: str = ""
    stratify: bool = False
    on_bad_example: str = "error"
    normalize: tuple[float, ...] = ()
    tfds_dir: str = ""

    def __post_init__(self):
        """Refuses invalid values, by the name of the setting."""
        object.__setattr__(self, "source", self.take_domains(self.source))
        self._check_sources()
        if not is_tokenizer_file(self.tokenizer):
            _check_choice("tokenizer", self.tokenizer, TOKENIZERS)
        _check_choice("pieces", self.pieces, PIECES)
        _check_choice("on_bad_document", self.on_bad_document, ON_BAD)
        _check_choice("on_bad_example", self.on_bad_example, ON_BAD_EXAMPLE)
        _check_choice("on_duplicate", self.on_duplicate, ON_DUPLICATE)
        check_encoding(self.encoding, "config.data.encoding")
        _check_size("seq_len", self.seq_len, 1)
        _check_size("target_len", self.target_len, 0)
        _check_size("source_vocab_size", self.source_vocab_size, 0)
        _check_size("batch_size", self.batch_size, 1)
        _check_buckets(self.buckets, self.seq_len)
        _check_size("vocab_size", self.vocab_size, 1)
        self._check_vocab_sizes()
        _check_fraction("valid_fraction", self.valid_fraction)
        _check_fraction("test_fraction", self.test_fraction)
        self._check_folds()
        _check_sign("delimiter", self.delimiter)
        _check_sign("quote", self.quote)
        self.check_images()
        check_normalize(self.normalize, self.channels)

    def reading(self) -> Reading:
        """Returns how documents are read, for language modelling.

        Raises:
            ConfigError: If a source of records does not say where its text is, or if a
                setting is of labelled examples only.
        """
        for key in _OF_EXAMPLES:
            if getattr(self, key):
                raise ConfigError(
                    f"config.data.{key}={show(getattr(self, key))} is for labelled "
                    "examples, and this task reads plain text. Leave it out."
                )
        field = str(self.fields.get("text", ""))
        named = {"valid": self.valid_source, "test": self.test_source}
        own = {split: names for split, names in named.items() if names}
        check_field(self.source, field)
        for split, names in own.items():
            check_field(names, field, f"config.data.{split}_source")
        return Reading(self.source, self.on_bad_document, field, self.style, own)

    @property
    def style(self) -> Format:
        """How files are to be read."""
        table = self.header, self.delimiter, self.quote
        folders = dict(tfds_dir=self.tfds_dir, image_dir=self.image_folder)
        return Format(self.encoding, *table, **folders)

    def _check_vocab_sizes(self):
        own = self.source_vocab_size
        if own and self.tokenizer != "sentencepiece":
            raise ConfigError(
                f"config.data.source_vocab_size={own} is for a tokenizer that is "
                f"trained; config.data.tokenizer={show(self.tokenizer)} is shared. "
                "Set it to 0."
            )
        if own and self.one_row:
            raise ConfigError(
                f"config.data.source_vocab_size={own}: with config.data.one_row=True "
                "sources and targets share a tokenizer. Set it to 0."
            )
        for name in ("vocab_size", "source_vocab_size"):
            size = getattr(self, name)
            is_trained = self.tokenizer == "sentencepiece" and (size or name[0] == "v")
            if is_trained and size < MIN_VOCAB_SIZE:
                raise ConfigError(
                    f"config.data.{name}={size} is too small: 256 bytes and "
                    f"4 specials come first. Set {MIN_VOCAB_SIZE} or more, or "
                    "config.data.tokenizer=bytes."
                )

    def _check_folds(self):
        _check_size("num_folds", self.num_folds, 1)
        _check_size("fold", self.fold, 0)
        if self.fold >= self.num_folds:
            raise ConfigError(
                f"config.data.fold={self.fold} must be below config.data.num_folds="
                f"{self.num_folds}: folds are counted from 0."
            )
        if self.num_folds > 1 and self.valid_source:
            raise ConfigError(
                f"config.data.num_folds={self.num_folds} deals out the validation "
                "split, and config.data.valid_source names one. Leave one of them out."
            )

    def _check_sources(self):
        for key in ("source", "valid_source", "test_source"):
            names, where = getattr(self, key), f"config.data.{key}"
            if key == "source" or names:
                parse_sources(names, where)


def is_tokenizer_file(tokenizer: object) -> bool:
    """Returns whether ``config.data.tokenizer`` is the path of a file."""
    if not isinstance(tokenizer, str):
        return False
    return "/" in tokenizer or tokenizer.endswith((".json", ".model"))


def _check_choice(key: str, value: object, choices: tuple[str, ...]):
    if value not in choices:
        hint = suggest(show(value), choices)
        raise ConfigError(f"config.data.{key}={show(value)} is not a choice. {hint}")


def _check_size(key: str, value: object, smallest: int):
    is_bool = isinstance(value, bool)
    if isinstance(value, int) and not is_bool and smallest <= value <= MAX_SIZE:
        return
    wanted = f"Set a whole number from {smallest} to {MAX_SIZE}."
    raise ConfigError(f"config.data.{key}={show(value)} is not a size. {wanted}")


def _check_fraction(key: str, value: object):
    is_bool = isinstance(value, bool)
    # The comparison is false for nan, too.
    if isinstance(value, int | float) and not is_bool and 0.0 <= value < 0.5:
        return
    wanted = "Set a fraction from 0 to below 0.5, such as 0.05."
    raise ConfigError(f"config.data.{key}={show(value)} is out of range. {wanted}")


def _check_sign(key: str, value: Any):
    if not isinstance(value, str) or len(value) > 1 or value in ("\n", "\r"):
        wanted = "Set one character, or nothing."
        raise ConfigError(f"config.data.{key}={show(value)} is invalid. {wanted}")


def _check_buckets(buckets: Any, seq_len: int):
    lengths = [0, *buckets] if isinstance(buckets, list | tuple) else [0, 0]
    rises = all(type(n) is int for n in lengths) and all(
        a < b for a, b in itertools.pairwise(lengths)
    )
    if not rises or lengths[-1] > seq_len:
        raise ConfigError(
            f"config.data.buckets={show(buckets)} is invalid. Set ascending lengths up "
            f"to config.data.seq_len={seq_len}, such as [32, 64]."
        )
