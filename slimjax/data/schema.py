"""What a task reads of an example, and how that becomes columns."""

import dataclasses
from collections.abc import Callable, Collection, Mapping

from slimjax.data.columns import (
    prepare_features,
    prepare_label,
    prepare_labels,
    prepare_value,
)
from slimjax.data.encoding import Prepared
from slimjax.data.image_columns import prepare_image
from slimjax.data.material import Material
from slimjax.data.text_columns import prepare_pair, prepare_text
from slimjax.text.examples import Example
from slimjax.text.kinds import OPTIONAL, find_kind
from slimjax.text.reading import BadDocument

PAIR = "text_pair"
"""The second text of an example that may have one text or two."""


def prepare_by_kind(material: Material) -> list[Prepared]:
    """Returns the columns of texts, images, features, labels and values.

    Two texts are one column; examples may lack an optional one. Labels come first:
    examples whose label is unknown are left out of the others.
    """
    kinds = material.kinds
    is_text = lambda name: kinds[name].removesuffix(OPTIONAL) == "text"
    texts = [name for name in kinds if is_text(name)]
    names = [name for name in kinds if name not in texts[1:]]
    columns = {
        name: _prepare_one(material, name, texts)
        for name in sorted(names, key=lambda name: not kinds[name].startswith("label"))
    }
    return [columns[name] for name in names]


def _prepare_one(material: Material, name: str, texts: list[str]) -> Prepared:
    config, kind = material.config, material.kinds[name]
    if kind == "label":
        return prepare_label(name, material.labels(name))
    if kind == "labels":
        return prepare_labels(name, material.labels(name))
    if kind == "value":
        return prepare_value(name, material.values(name))
    if kind == "image":
        return prepare_image(material, name)
    if kind == "features":
        scaling, note = material.scaling(name)
        return prepare_features(name, material.examples, scaling, note)
    tokenizer = material.tokenizer(*texts)
    if len(texts) == 1:
        return prepare_text(name, tokenizer, config)
    first, second = texts
    return prepare_pair((first, second), tokenizer, config)


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a task reads of an example, and how that becomes columns.

    Attributes:
        kinds: Names and kinds, such as ``{"text": "text", "text_pair": "text?",
            "label": "label"}``; a kind that ends in ``?`` is optional.
        prepare: Makes the columns. `Material.kinds` has those of `kinds` that are
            there; without targets, only the inputs.
        check: What is wrong with an example whose values do not fit together, or None.
            Targets may be missing from it.
        take_apart: Returns an example whose inputs hold nothing of its answer, for a
            task that reads both as one value. Equal inputs are copies.
        shared: Name of a text that several examples may ask about; they are in one
            split.
    """

    kinds: Mapping[str, str]
    prepare: Callable[[Material], list[Prepared]] = prepare_by_kind
    check: Callable[[Example], BadDocument | None] = lambda _: None
    take_apart: Callable[[Example], Example] = lambda example: example
    shared: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what a model reads, the optional ones among them."""
        return tuple(
            n for n, kind in self.kinds.items() if not find_kind(kind).is_target
        )

    @property
    def optional(self) -> tuple[str, ...]:
        """Names that an example may lack."""
        return tuple(n for n, kind in self.kinds.items() if kind.endswith(OPTIONAL))

    def choose_kinds(self, names: Collection[str] = ()) -> dict[str, str]:
        """Returns names and kinds with these of the optional ones, needed from now on.

        Examples:
            >>> schema = Schema({"text": "text", "text_pair": "text?"})
            >>> schema.choose_kinds()
            {'text': 'text'}
            >>> schema.choose_kinds(["text_pair"])
            {'text': 'text', 'text_pair': 'text'}
        """
        left_out = set(self.optional) - set(names)
        return {
            name: kind.removesuffix(OPTIONAL)
            for name, kind in self.kinds.items()
            if name not in left_out
        }

    def with_pairs(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """Returns kinds with a second text that an example may have, if a task may.

        Examples:
            >>> schema = Schema({"text": "text", "text_pair": "text?"})
            >>> schema.with_pairs(schema.choose_kinds())
            {'text': 'text', 'text_pair': 'text?'}
        """
        known = {n: kind for n, kind in self.kinds.items() if n in kinds or n == PAIR}
        is_optional = known.get(PAIR, "").endswith(OPTIONAL)
        if self.prepare is not prepare_by_kind or not is_optional:
            return dict(kinds)
        return {name: kinds.get(name, kind) for name, kind in known.items()}
