"""What columns are made from: the examples, and what is known of them already."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Codec
from slimjax.data.labels import Labels, count_labels
from slimjax.data.scaling import Scaling, choose_scaling
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokenizer_choice import choose_tokenizer
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
    """

    config: DataConfig
    kinds: Mapping[str, str]
    splits: dict[str, list[Example]]
    codecs: Mapping[str, Codec] = dataclasses.field(default_factory=dict)
    refuse: Refuse = lambda _: None
    report: Progress = lambda *_: None

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
        return choose_tokenizer(self.config, passages, self.report)

    def labels(self, name: str) -> Labels:
        """Returns the classes of a label.

        Examples of valid and test whose label is no class are taken out of `splits`.

        Raises:
            DataError: If train has fewer than two classes; or for an unknown label,
                unless bad examples are skipped.
        """
        labels = cast(Labels | None, self.codecs.get(name))
        if labels is None:
            labels = count_labels(Counter(e.values[name] for e in self.splits["train"]))
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

    @property
    def examples(self) -> list[Example]:
        """All examples, split after split."""
        return [example for split in SPLITS for example in self.splits[split]]

    def _is_known(self, labels: Labels, example: Example, name: str) -> bool:
        label = example.values[name]
        if label in labels:
            return True
        problem = (
            f"has the label {show(label)}, which no example of the train split has. "
            f"{labels.suggest(label)}"
        )
        self.refuse(example.bad("unknown_label", problem))
        return False
