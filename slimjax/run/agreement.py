"""Whether all processes of a run were given the same, before they compute together.

Places may differ, such as the folders of local copies: what is there has a digest.
"""

import json
from collections.abc import Mapping
from typing import Any

import jax

from slimjax import processes
from slimjax.data.dataset import Dataset
from slimjax.errors import ConfigError
from slimjax.run.environment import versions
from slimjax.run.progress import Display
from slimjax.train.comparison import flatten_blocks, without_places
from slimjax.train.config import RunConfig
from slimjax.train.history import History
from slimjax.train.stage import Stage

MOST_QUOTED = 80
"""Characters of a value in a message."""


def check_settings(run: RunConfig, display: Display) -> None:
    """Refuses processes with other settings or programs, and shows how many there are.

    Raises:
        ConfigError: Naming the first setting that differs from that of process 0.
    """
    if processes.count() == 1:
        return
    settings = without_places(flatten_blocks(run.as_dict()))
    facts = {f"config.{name}": value for name, value in settings.items()}
    installed = versions()
    del installed["python"]  # Another one computes the same.
    facts |= {f"The version of {name}": text for name, text in installed.items()}
    compare("the settings", facts)
    display.say(f"{processes.count()} processes have {jax.device_count()} devices.")


def check_data(data: Dataset) -> None:
    """Refuses processes that would train on other rows.

    Raises:
        ConfigError: If they are not those of process 0.
    """
    compare("the data", {"The fingerprint of the data": data.fingerprint})


def check_sources(stage: Stage, history: History) -> None:
    """Refuses processes that read other models or tables than process 0 to begin with.

    Raises:
        ConfigError: Naming what differs from process 0.
    """
    start, teacher, table = history.init_from, stage.teacher, stage.blueprint.latency
    digests = {
        "The digest of the model in config.model.init_from": start and start["digest"],
        "The digest of the teacher": teacher and teacher.digest,
        "The fingerprint of the table of latencies": table and table.fingerprint,
    }
    compare("what to begin with", digests)


def compare(name: str, facts: Mapping[str, Any]) -> None:
    """Lets all processes pass that have the same plain data, or none.

    Args:
        name: What is compared.
        facts: The data, each under a name that can begin a sentence.

    Raises:
        ConfigError: Naming the first that differs from that of process 0.
    """
    if processes.count() == 1:
        return
    own = json.loads(json.dumps(facts))  # As the others get it.
    first = processes.share(name, own)
    with processes.together(name):
        for key in sorted({*own, *first}):
            if own.get(key) != first.get(key):
                raise ConfigError(
                    f"{key} is {_quote(own.get(key))}, and {_quote(first.get(key))} in "
                    "process 0. Give all processes of a run the same."
                )


def _quote(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}..."
