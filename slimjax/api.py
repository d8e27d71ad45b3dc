"""A whole run from one call: train, slim, report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from slimjax.paths import user_path
from slimjax.processes import is_first
from slimjax.run.loop import train
from slimjax.run.progress import Display
from slimjax.train.config import make_run_config
from slimjax.train.devices import prepare_devices


def fit(
    config: Mapping[str, Any], workdir: str | Path, *, quiet: bool = False
) -> dict[str, Any]:
    """Trains and slims a model into a run folder, or goes on with it.

    Args:
        config: Blocks of settings, such as a config file's ``get_config()`` returns.
        workdir: The run folder; made if it is not there.
        quiet: Whether to show no progress on stderr.

    Returns:
        The content of ``report.json``; ``report.html`` stands beside it.

    Raises:
        SlimjaxError: For all that a user can mend.
    """
    from slimjax import report

    prepare_devices()
    plain = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    run = make_run_config(plain)
    with Display(quiet=quiet or not is_first()) as display:
        result = train(run, workdir, display=display)
    page = user_path(workdir, "workdir") / "report.html"
    if is_first() and not page.is_file():
        report.write_report([report.read_run(workdir)], page)
    return result
