"""Which programs are compiled while a test looks."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def listed() -> Iterator[list[str]]:
    """Yields the names of programs that are compiled, or found on the disk."""
    names = []

    def listen(event: str, _: float, **facts) -> None:
        if "backend_compile" in event:
            names.append(facts.get("fun_name", ""))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
