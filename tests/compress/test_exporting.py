"""Export with text: less is lost by rounding, and the command says how much."""

import dataclasses
import json
from typing import Any

import gguf_models as files
import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.compress import exporting
from slimjax.compress.config import Request
from slimjax.compress.exporting import export_calibrated
from slimjax.compress.pipeline import compress
from slimjax.errors import SlimjaxError
from slimjax.generate.model import load
from slimjax.interop.gguf_header import read_header
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder

WORDS = files.TEXT.split()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Returns the run folder of a small model, and a text."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = files.byte_level_settings("gpt-2")
    settings = dict(context_length=32)
    layers = [(4, 2, 64), (4, 2, 96)]
    path = files.llama_file(
        folder / "m.gguf", layers, arch="deci", tokenizer=tokenizer, **settings
    )
    imported = understand(read_gguf(path), str(folder / "run"))
    write_run_folder(imported, folder / "run", "gguf")
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS, 30)) for _ in range(200)]
    (folder / "text.txt").write_text("\n\n".join(lines))
    return folder


def test_less_is_lost_with_text(made, tmp_path, monkeypatch):
    data = f"text:{made}/text.txt"
    own, plain = tmp_path / "own.gguf", tmp_path / "plain.gguf"
    result = export_calibrated(str(made / "run"), own, data, kind="Q4_0", num_rows=24)
    monkeypatch.setattr(exporting, "collect_inputs", lambda *_: {})
    nearest = export_calibrated(
        str(made / "run"), plain, data, kind="Q4_0", num_rows=24
    )
    assert own.stat().st_size == plain.stat().st_size
    names = read_header(own).tensors
    assert {t.type for n, t in names.items() if "ffn" in n and "norm" not in n} == {
        "Q4_0"
    }
    before = result["perplexity"]["before"]
    assert before == nearest["perplexity"]["before"]
    lost, usual = (abs(r["perplexity"]["after"] - before) for r in (result, nearest))
    assert lost < usual


def test_the_command_prints_both_perplexities_and_both_sizes(made, tmp_path, capsys):
    argv = ["export", "--format=gguf", "--type=F32", f"--workdir={made / 'run'}"]
    argv += [f"--output={tmp_path / 'm.gguf'}", f"--data=text:{made}/text.txt"]
    assert main(argv) == 0
    written = capsys.readouterr()
    assert "moments of inputs 100/100" in written.err
    lines = written.out.splitlines()
    own = (made / "run" / "weights.safetensors").stat().st_size
    assert f"weights.safetensors of the run: {own:,} bytes of weights" in lines
    length = (tmp_path / "m.gguf").stat().st_size
    assert lines[-1] == f"{tmp_path / 'm.gguf'}: {length:,} bytes of weights"
    line = next(x for x in lines if "perplexity" in x)
    before, after = (word for word in line.split() if word[0].isdigit())
    assert before == after


def test_no_progress_is_shown_beside_json(made, tmp_path, capsys):
    argv = ["export", "--format=gguf", "--json", f"--workdir={made / 'run'}"]
    argv += [f"--output={tmp_path / 'm.gguf'}", f"--data=text:{made}/text.txt"]
    assert main(argv) == 0
    written = capsys.readouterr()
    assert "perplexity" in json.loads(written.out)
    assert not written.err


def test_text_that_is_too_short_leaves_no_file(made, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("a few words")
    argv = ["export", "--format=gguf", "--type=Q4_0", f"--workdir={made / 'run'}"]
    argv += [f"--output={tmp_path / 'm.gguf'}", f"--data=text:{tmp_path}/short.txt"]
    assert main(argv) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["short.txt"]


def ask(made, workdir, budget, **options):
    usual: dict[str, Any] = dict(
        size="gguf_bytes", kind="Q4_0", num_rows=16, num_slope_rows=4
    )
    usual |= dict(num_error_rows=12)
    data = f"text:{made}/text.txt"
    return Request(
        str(made / "run"), data, str(workdir), (budget,), **(usual | options)
    )


def test_a_budget_is_that_of_the_exported_file(made, tmp_path, capsys):
    """What is left over is less than a block of the smallest MLP."""
    flags = [f"--model={made / 'run'}", f"--data=text:{made}/text.txt"]
    flags += ["--size=gguf_bytes", "--type=Q4_0", "--budget=90%", "--rows=16"]
    flags += [
        "--slope_rows=4",
        "--error_rows=12",
        "--skip_speed",
        f"--workdir={tmp_path / 'slim'}",
    ]
    assert main(["compress", *flags, "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    path = tmp_path / "slim" / "model.Q4_0.gguf"
    length = path.stat().st_size
    assert report["gguf"]["bytes"] == length
    budget = 0.9 * report["size"]["gguf_bytes_start"]
    width = read_gguf(path).config["hidden_size"]
    block = 3 * 32 * width / 32 * 18
    assert budget - block - 200 < length <= budget
    assert all(y.mlp_dim % 32 == 0 for y in load(tmp_path / "slim").config.layers)
    (error,) = report["gguf"]["errors"]
    plain = report["compress"]["errors"][0]["after"]["perplexity"]
    assert error["perplexity"] != plain
    assert error["perplexity"] == pytest.approx(plain, rel=0.2)
    card = (tmp_path / "slim" / "model.Q4_0.md").read_text()
    assert "Made of `m.gguf`" in card
    assert "compressed by slimjax" in card
    before = report["compress"]["errors"][0]["before"]["perplexity"]
    assert f"before and after | {before:.4g}, {plain:.4g} |" in card


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(kind=""), "needs --type"),
        (dict(kind="Q2_K"), "Q2_K is unknown"),
        (dict(size="bytes"), "take no --type"),
        (dict(overrides=(("quantize.bits", "[4]"),)), "bits are those"),
        (dict(budgets=("1k",)), "below"),
        (dict(budgets=("1G",)), "above"),
    ],
)
def test_mistakes_of_files_are_one_line(made, tmp_path, options, message):
    request = ask(made, tmp_path / "slim", "90%")
    with pytest.raises(SlimjaxError, match=message) as caught:
        compress(dataclasses.replace(request, **options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "slim").exists()
