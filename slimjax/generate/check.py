"""Whether a run's model writes text."""

from pathlib import Path

from slimjax import tasks
from slimjax.data.codecs import load_codecs, special_of
from slimjax.errors import ConfigError
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import DEFAULT_TASK


def check_generates(workdir: str | Path) -> None:
    """Refuses runs of tasks whose models write no text.

    Args:
        workdir: The run folder.

    Raises:
        ConfigError: If the task of the run does not generate.
        CheckpointError: If there is no run in the folder.
    """
    folder = RunFolder(workdir)
    folder.check_run()
    name = read_json(folder.config, dict).get("task", DEFAULT_TASK)
    special = special_of(load_codecs(folder.tokenizer))
    if not tasks.get(name).make_task(special).generates:
        raise ConfigError(
            f"--workdir={workdir} holds a model of config.task={name!r}, which "
            "generates no text. Use slimjax evaluate to measure it."
        )
