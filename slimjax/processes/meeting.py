"""Where the processes of a run wait for each other and exchange values."""

import contextlib
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from slimjax import errors
from slimjax.errors import ProcessError, SlimjaxError
from slimjax.processes import world

DAY = 86400.0
ASKING_SECONDS = 10.0  # For late processes to answer.
POLLING_SECONDS = 0.0005
_calls: dict[str, Iterator[int]] = defaultdict(itertools.count)


def barrier(name: str) -> None:
    """Waits until all processes are here.

    Args:
        name: What they come for, the same everywhere; it may be used again and again.

    Raises:
        ProcessError: Naming the processes that are late.
    """
    world.wait(name, world.seconds_of(world.BARRIER_SECONDS))


def share(name: str, value: Any) -> Any:
    """Returns the plain data that process 0 has, on all of them.

    Raises:
        ProcessError: If process 0 has not sent it in time.
    """
    if world.count() == 1:
        return value
    key, client = _key(name), world.state().client
    if world.is_first():
        client.key_value_set(key, json.dumps(value))
        return value
    seconds = world.seconds_of(world.BARRIER_SECONDS)
    try:
        return json.loads(client.blocking_key_value_get(key, int(1000 * seconds)))
    except Exception as error:
        raise ProcessError(
            f"Process 0 has not sent {name} within {seconds:g} s."
        ) from error


@contextlib.contextmanager
def together(name: str, seconds: float = 0.0) -> Iterator[None]:
    """Lets all processes pass, or none: a user's mistake in one fails in all.

    Args:
        name: What they do, the same everywhere.
        seconds: How long it may take one longer than another; 0 for as long as usual.

    Raises:
        SlimjaxError: Their own; those without one that of the first that has one.
        ProcessError: If one of them does not come.
    """
    if world.count() == 1:
        yield
        return
    own = None
    try:
        yield
    except SlimjaxError as error:
        own = error
    sent = None if own is None else [type(own).__name__, str(own)]
    try:
        others = exchange(name, sent, seconds)
    except ProcessError:
        if own is None:
            raise
        raise own from None  # It tells more than that the others do not come.
    if own is not None:
        raise own
    for number, other in enumerate(others):
        if other is not None:
            kind, text = other
            raise getattr(errors, kind)(f"process {number}: {text}")


def exchange(name: str, value: Any, seconds: float = 0.0) -> list[Any]:
    """Returns the plain data of all processes, in their order.

    Args:
        name: What it is, the same everywhere.
        value: This process's.
        seconds: How long it may take one longer than another; 0 for as long as usual.

    Raises:
        ProcessError: Naming the processes that are late.
    """
    if world.count() == 1:
        return [value]
    key, client = _key(name), world.state().client
    client.key_value_set(f"{key}/{world.rank():06d}", json.dumps(value))
    world.wait(name, seconds or world.seconds_of(world.BARRIER_SECONDS))
    return [json.loads(text) for _, text in sorted(client.key_value_dir_get(f"{key}/"))]


def agree(name: str, digest: str) -> None:
    """Compares what each process has computed by itself.

    Args:
        name: What it is.
        digest: A hash of it.

    Raises:
        ProcessError: Naming those that differ from process 0.
    """
    found = exchange(name, digest)
    odd = [i for i, other in enumerate(found) if other != found[0]]
    if odd:
        raise ProcessError(
            f"{world.list_ranks(odd)} and process 0 differ in {name}. Their programs, "
            "their text or their devices are not the same."
        )


def wait_for(arrays: Any, name: str) -> Any:
    """Returns arrays once the devices have computed them, those of all processes.

    Raises:
        ProcessError: Naming the processes that are late.
    """
    if world.count() == 1:
        return arrays
    import jax

    leaves = jax.tree.leaves(arrays)
    pending: list[Any] = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    deadline = time.monotonic() + world.seconds_of(world.BARRIER_SECONDS)
    for array in pending:
        while not array.is_ready():
            if time.monotonic() > deadline:
                world.wait(name, ASKING_SECONDS)
                raise ProcessError(f"The devices hang in {name}.")
            time.sleep(POLLING_SECONDS)
    return arrays


def _key(name: str) -> str:
    """Returns a key for the n-th call, the same on all processes."""
    return f"slimjax/{name}/{next(_calls[name])}"
