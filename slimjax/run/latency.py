"""How long models take here: measured once, when a run begins that counts latency.

What is timed is generating one token for one row, with a cache: for some models
(`latency_models`) by the clock (`latency_clock`), from which a table follows
(`latency_fit`).
"""

from pathlib import Path

import jax

from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.models.config import ModelConfig
from slimjax.nn.gates import CHANNELS
from slimjax.objective.latency_table import LatencyTable
from slimjax.paths import user_path
from slimjax.run.latency_clock import time_models
from slimjax.run.latency_fit import empty_table, fit_table
from slimjax.run.latency_models import choose_models
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig


def find_latency(
    run: RunConfig, folder: RunFolder, model: ModelConfig, fingerprint: str | None
) -> LatencyTable | None:
    """Returns the table of a run, measured if the run begins; None if none is needed.

    Args:
        run: The config.
        folder: Its folder, where the table is kept once the run has begun.
        model: The model that the run starts from.
        fingerprint: The table that the run went on with so far; None at its beginning.

    Raises:
        ConfigError: If a table that is given is none, or of another model.
        NotFeasibleError: If the run's table is not what it was.
    """
    if not run.objective.counts_latency:
        return None
    if fingerprint is None and not folder.latency.is_file():
        return _given_or_measured(run, model)
    if not folder.latency.is_file():
        raise NotFeasibleError(_changed(folder.latency))
    narrower = CHANNELS in run.resize.units
    table = _read(folder.latency, str(folder.latency), model, narrower)
    if fingerprint not in (None, table.fingerprint):
        raise NotFeasibleError(_changed(folder.latency))
    return table


def _changed(path: Path) -> str:
    return (
        f"{path} is not what it was when this run began. Restore it, or start afresh "
        "in a new --workdir."
    )


def _given_or_measured(run: RunConfig, model: ModelConfig) -> LatencyTable:
    given, narrower = run.objective.latency_table, CHANNELS in run.resize.units
    if given:
        where = f"config.objective.latency_table={given!r}"
        path = user_path(given, "config.objective.latency_table")
        return _read(path, where, model, narrower)
    if jax.process_count() > 1:
        raise ConfigError(
            "config.objective.size='latency' is measured by one process, and this run "
            "has several: measure it in a run of one, and give its latency.json in "
            "config.objective.latency_table."
        )
    return measure_latency(model, narrower=narrower)


def _read(path: Path, where: str, model: ModelConfig, narrower: bool) -> LatencyTable:
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where} cannot be read: {error}.") from error
    table = LatencyTable.from_json(data, where)
    head_dims = {layer.head_dim for layer in model.layers}
    theirs = table.widths[-1], table.vocab_size, {table.head_dim}
    if theirs != (model.width, model.vocab_size, head_dims):
        raise ConfigError(
            f"{where} is of another model: width, vocabulary and head_dim {theirs}, "
            f"not {(model.width, model.vocab_size, head_dims)}."
        )
    if narrower and len(table.widths) == 1:
        raise ConfigError(
            f"{where} is of one residual width, which {CHANNELS!r} in "
            "config.resize.units changes. Measure again, in a run with such units and "
            "without config.objective.latency_table."
        )
    return table


def measure_latency(model: ModelConfig, *, narrower: bool = False) -> LatencyTable:
    """Returns how long the parts of a model, and of smaller ones, take here.

    Args:
        model: The model that a run starts from; its layers have heads of one width.
        narrower: Whether also at smaller widths of the residual stream.

    Raises:
        ConfigError: If heads have several widths.
    """
    head_dims = {layer.head_dim for layer in model.layers}
    if len(head_dims) > 1:
        raise ConfigError(
            "config.objective.size='latency' needs heads of one width, not of "
            f"{sorted(head_dims)}."
        )
    models = choose_models(model, narrower=narrower)
    return fit_table(empty_table(models), models, time_models(models))
