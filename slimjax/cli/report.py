"""``slimjax report``."""

from collections.abc import Sequence
from pathlib import Path

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.errors import ConfigError
from slimjax.paths import printable, user_path


def main(argv: Sequence[str]) -> None:
    """Writes a self-contained page about one run or several, or about tunes."""
    parser = make_parser(
        "report",
        "Writes a page with figures and tables about one run, or comparing several.",
        "slimjax report runs/dense runs/slim --output=report.html",
    )
    parser.add_argument(
        "workdirs", nargs="+", metavar="DIR", help="run folders, or folders of tunes"
    )
    parser.add_argument("--output", help="the page; default report.html in DIR")
    flags = parse(parser, argv).flags
    if len(flags.workdirs) > 1 and not flags.output:
        raise ConfigError("slimjax report of several runs needs --output=FILE.html.")
    folders = [user_path(folder, "DIR") for folder in flags.workdirs]
    output = folders[0] / "report.html"
    if flags.output is not None:
        output = user_path(flags.output, "--output")
    if output.suffix != ".html":
        raise ConfigError(f"--output={output} must end in .html.")
    from slimjax import report

    if all(report.holds_tune(folder) for folder in folders):
        names = _name(folders)
        tunes = [report.read_tune(folder) for folder in folders]
        report.write_tunes(tunes, names, output)
    else:
        runs = [report.read_run(directory) for directory in folders]
        report.write_report(runs, output)
        names = [run.name for run in runs]
    if flags.json:
        print_json({"output": str(output), "runs": names})
    else:
        print(f"wrote {printable(output)}")


def _name(folders: Sequence[Path]) -> list[str]:
    """Returns the last parts of paths, or the paths where two end alike."""
    names = [folder.name for folder in folders]
    if len({*names}) < len(names):
        return [str(folder) for folder in folders]
    return names
