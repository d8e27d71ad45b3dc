"""Standard output and error: streams that no character can make fail."""

import sys

from slimjax.paths import printable


def prepare_streams() -> None:
    r"""Has both streams write ``\xNN`` or ``\uNNNN`` for what they cannot encode.

    Their encoding stays as the system has it. Streams that are not files of Python's
    own, such as those of a notebook, are left alone.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def write_error(message: str) -> None:
    """Writes one line to stderr, whatever the message holds."""
    plain = "".join(c if c.isprintable() else " " for c in printable(message))
    sys.stderr.write("slimjax: " + " ".join(plain.split()) + "\n")
