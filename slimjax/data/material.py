"""What columns are made from: the examples, and what is known of them already."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Codec
from slimjax.data.image_table import ImageTable
from slimjax.data.labels import Labels, count_labels
from slimjax.data.scaling import Scaling, choose_scaling
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokenizer_choice import choose_tokenizer
from slimjax.data.values import ValueScale, measure_values
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.sample import PassageSample
from slimjax.text.splits import SPLITS
from slimjax.text.survey import Progress

Refuse = Callable[[BadDocument], None]


@dataclasses.dataclass(frozen=True)
class Material:
    """What the columns of a task are made from.

    Attributes:
        config: The settings of data.
        kinds: What is read: names and kinds, none of them optional any more.
        splits: The examples of each split. All are empty where a finished model reads
            new inputs: then `codecs` has all that is needed.
        codecs: Those of a dataset that was loaded before, or of a finished run.
        refuse: Raises for a bad example, or counts it.
        report: Called with a stage and the fraction of it that is done.
        images: The images of the examples, decoded; None where there are none.
    """

    config: DataConfig
    kinds: Mapping[str, str]
    splits: dict[str, list[Example]]
    codecs: Mapping[str, Codec] = dataclasses.field(default_factory=dict)
    refuse: Refuse = lambda _: None
    report: Progress = lambda *_: None
    images: ImageTable | None = None

    def tokenizer(self, *names: str, field: str = "tokens") -> Tokenizer:
        """Returns the tokenizer of a field, trained on texts of the train split.

        Args:
            *names: Names of the texts, by the task; values may be lists of texts.
            field: What the codec is called.
        """
        if field in self.codecs:
            return cast(Tokenizer, self.codecs[field])
        sample = PassageSample()
        for example in self.splits["train"]:
            for name in names:
                value = example.values.get(name, "")
                for text in [value] if isinstance(value, str) else value:
                    sample.add(text, 0.0)
        passages = [passage for passage, _ in sample.passages()]
        return choose_tokenizer(self.config, passages, self.report, within_words=True)

    def labels(self, name: str) -> Labels:
        """Returns the classes of a label, or of lists of labels, or of tags.

        Examples of valid and test whose label is no class are taken out of `splits`.

        Raises:
            DataError: If train has fewer than two classes; or for an unknown label,
                unless bad examples are skipped.
        """
        labels = cast(Labels | None, self.codecs.get(name))
        is_many = self.kinds.get(name) == "labels"
        if labels is None:
            counts: Counter[str] = Counter()
            for example in self.splits["train"]:
                counts.update(_each(example.values[name]))
            labels = count_labels(counts, field=name, is_many=is_many)
        for split in SPLITS:
            self.splits[split] = [
                example
                for example in self.splits[split]
                if self._is_known(labels, example, name)
            ]
        return labels

    def scaling(self, name: str) -> tuple[Scaling, str]:
        """Returns how features are scaled, and a note for the user, or ""."""
        if name in self.codecs:
            return cast(Scaling, self.codecs[name]), ""
        features = [example.values[name] for example in self.splits["train"]]
        return choose_scaling(features, self.config.normalize)

    def values(self, name: str) -> ValueScale:
        """Returns mean and deviation of a value in the train split.

        Raises:
            DataError: If all are the same.
        """
        if name in self.codecs:
            return cast(ValueScale, self.codecs[name])
        values = [example.values[name] for example in self.splits["train"]]
        return measure_values(np.array(values, np.float64), name)

    @property
    def examples(self) -> list[Example]:
        """All examples, split after split."""
        return [example for split in SPLITS for example in self.splits[split]]

    def _is_known(self, labels: Labels, example: Example, name: str) -> bool:
        unknown = [n for n in _each(example.values[name]) if n not in labels]
        if not unknown:
            return True
        label = unknown[0]
        word = name if name == "answer" else "label"
        problem = (
            f"has the {word} {show(label)}, which no example of the train split has. "
            f"{labels.suggest(label)}"
        )
        self.refuse(example.bad("unknown_label", problem))
        return False


def _each(value: str | Iterable[str]) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value
