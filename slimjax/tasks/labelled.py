"""How tasks of labelled examples get their data: all by the schema of the task."""

from collections.abc import Callable, Mapping
from typing import Any

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset
from slimjax.data.labelled import load_labelled_dataset
from slimjax.data.schema import Schema
from slimjax.models.head import HeadSettings
from slimjax.text.survey import Progress


def make_load(
    schema: Callable[[DataConfig, HeadSettings | None], Schema],
) -> Callable[..., Dataset]:
    """Returns the ``load`` of a task whose examples have this schema."""

    def load(
        config: DataConfig,
        *,
        head: HeadSettings | None = None,
        codecs: Mapping[str, Any] | None = None,
        all_valid: bool = False,
        progress: Progress | None = None,
    ) -> Dataset:
        """Returns the task's examples; see `load_labelled_dataset`."""
        return load_labelled_dataset(
            config,
            schema(config, head),
            codecs=codecs,
            all_valid=all_valid,
            progress=progress,
        )

    return load


def expected_outline(config: DataConfig) -> None:
    """Returns None: classes and lengths are not known before the data are read."""
    del config
