"""Classes that a pretrained model answers with, in our order."""

from slimjax.data.labels import Labels
from slimjax.data.tags import PlainTags, Tags
from slimjax.errors import DataError
from slimjax.interop.families.values import Values
from slimjax.text.span_kinds import OUTSIDE

MOST_CLASSES = 1 << 16


def read_classes(
    values: Values, task: str
) -> tuple[dict[str, Labels], tuple[int, ...]]:
    """Returns the classes of a head, and their numbers in the file in our order.

    Args:
        values: The settings.
        task: ``classification`` or ``tagging``.

    Raises:
        DataError: If there are no classes, or not as many as names.
    """
    names = _read_names(values)
    if task == "tagging":
        tags = _to_tags(names)
        order = tuple(names.index(name) for name in tags.names)
        is_same = order == tuple(range(len(order)))
        return {tags.field: tags}, () if is_same else order
    kind = values.config.get("problem_type")
    if kind == "regression" or len(names) < 2:
        raise DataError(
            "config.json: a head with one number, a regression, is not supported."
        )
    is_many = kind == "multi_label_classification"
    labels = Labels(names, [0] * len(names), is_many=is_many)
    return {labels.field: labels}, ()


def _read_names(values: Values) -> list[str]:
    given = values.config.get("id2label")
    if given is None:
        number = values.integer("num_labels", 2)
        return [f"LABEL_{i}" for i in range(min(number, MOST_CLASSES))]
    if isinstance(given, dict) and len(given) <= MOST_CLASSES:
        names = [given.get(str(i)) for i in range(len(given))]
        if all(isinstance(name, str) for name in names):
            if len(set(names)) < len(names):
                raise DataError("config.json: id2label names two classes alike.")
            return [str(name) for name in names]
    raise DataError("config.json: id2label must have a name for each class from 0 on.")


def _to_tags(names: list[str]) -> Tags:
    """Returns classes of tokens: those of BIO in our order, others as they are."""
    types = list(dict.fromkeys(name[2:] for name in names if name != OUTSIDE))
    tags = Tags(types, [0] * len(names))
    is_bio = sorted(tags.names) == sorted(names)
    return tags if is_bio else PlainTags(names, [0] * len(names))
