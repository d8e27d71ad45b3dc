"""``slimjax COMMAND ...``: finds the command, and turns errors into exit codes."""

import importlib
import keyword
import os
import sys
from collections.abc import Sequence

from slimjax.cli.streams import prepare_streams, write_error
from slimjax.errors import ConfigError, ProcessError, SlimjaxError, suggest
from slimjax.memory import describe, is_out_of_memory
from slimjax.version import VERSION

COMMANDS = {
    "train": "train a model and slim it; continues an interrupted run",
    "evaluate": "measure the error of a run's model on held-out text",
    "predict": "answer examples with a run's model, one line for each",
    "generate": "write text with a run's model",
    "export": "write a run's model in a format of other software",
    "import": "make a run folder of a pretrained model",
    "inspect": "show the architecture, the sizes and the seams of a run",
    "compress": "make a finished model smaller: cut, refit and round it",
    "sweep": "run a grid of settings with several seeds, and compare",
    "tune": "find out how much size is worth, by cross-validation along one path",
    "launch": "train with several processes on this machine",
    "plan": "compile a run's step for a TPU slice that is not here, and measure it",
    "prepare": "prepare a data set by a builder of TensorFlow Datasets",
    "report": "write a page about one run or several",
}


def usage() -> str:
    """Returns what ``slimjax --help`` prints."""
    lines = [f"  {name:10} {about}" for name, about in COMMANDS.items()]
    return (
        "usage: slimjax COMMAND [--flag=value ...]\n\n"
        "Language models in JAX that find their own size.\n\ncommands:\n"
        + "\n".join(lines)
        + "\n\nexample:\n  slimjax train --config=configs/quickstart.py "
        "--workdir=runs/demo\n\nslimjax COMMAND --help prints more; --version prints "
        "the version.\n"
    )


def run(argv: Sequence[str]) -> None:
    """Runs one command.

    Raises:
        SlimjaxError: For a mistake that the user can correct.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return
    if argv[0] == "--version":
        sys.stdout.write(f"slimjax {VERSION}\n")
        return
    name, *rest = argv
    if name not in COMMANDS:
        raise ConfigError(f"slimjax {name} is not a command. {suggest(name, COMMANDS)}")
    file = f"{name}_" if keyword.iskeyword(name) else name
    importlib.import_module(f"slimjax.cli.{file}").main(rest)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    prepare_streams()
    try:
        run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:  # The reader of stdout has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        write_error("interrupted")
        return 130
    except Exception as error:
        return _report(error)
    return 0


def _report(error: Exception) -> int:
    """Writes one line about a user's mistake or the system's limit.

    Returns:
        The exit code.

    Raises:
        Exception: The error itself, where it is neither: that is a bug of ours.
    """
    if isinstance(error, SlimjaxError):
        write_error(str(error))
        if isinstance(error, ProcessError):
            sys.stderr.flush()
            os._exit(error.exit_code)  # Python's own end would wait for the devices.
        return error.exit_code
    if isinstance(error, OSError):
        write_error(f"the system reports: {error}")
        return 2
    if is_out_of_memory(error):
        write_error(
            f"out of memory: {describe(error)} Take a smaller batch, sequence or "
            "model, or a machine with more memory."
        )
        return 2
    raise error
