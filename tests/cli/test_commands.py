"""Mistakes are told in one line, with exit code 2; what is right works."""

import io
import json

import pytest

from slimjax.cli.main import COMMANDS, main
from slimjax.generate import decode

TINY = "configs/tiny_test.py"


def refuse(capsys, *argv: str) -> str:
    """Runs a command that must be refused; returns its one line."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("slimjax: ")
    return captured.err


WRONG = [
    ("data.batchsize=8", "Did you mean config.data.batch_size?"),
    ("objektive.alpha=1", "Did you mean config.objective?"),
    ("data.batch_size=x", "must be an integer"),
    ("data.batch_size=0", "config.data.batch_size=0"),
    ("data.seq_len=-3", "config.data.seq_len=-3"),
    ("data.seq_len=2000000000", "config.data.seq_len=2000000000"),
    ("data.batch_size=2000000000", "config.data.batch_size=2000000000"),
    ("data.batch_size=99999999999999999999", "must be in [-2147483647, 2147483647]"),
    ("data.vocab_size=2000000000", "config.data.vocab_size=2000000000"),
    ("model.width=2000000000", "config.model.width=2000000000 must be at most"),
    ("model.num_heads=2000000000", "config.model.num_heads=2000000000 must be"),
    ("resize.max_seams=2000000000", "config.resize.max_seams=2000000000 must be"),
    ("model.num_layers=1000000000", "must be at most 4096"),
    ("train.num_steps=99999999999", "must be in [-2147483647, 2147483647]"),
    ("model.width=true", "must be an integer"),
    ("model.num_heads=3", "multiple of config.model.num_kv_heads"),
    ("model.head_dim=7", "must be even"),
    ("model.dtype=float8", "config.model.dtype"),
    ("model.attention_impl=slash", "Did you mean splash?"),
    ("model.attention_impl=splash", "wants a TPU, and this program is for a cpu"),
    ("model.architecture=nowhere.json", "cannot be read"),
    ("optim.learning_rate=NaN", "must be a finite number"),
    ("optim.learning_rate=-1", "config.optim.learning_rate=-1"),
    ("optim.learning_rate=0", "must be above 0"),
    ("optim.accumulation_steps=3", "multiple of config.optim.accumulation_steps"),
    ("objective.strategy=exhange", "Did you mean exchange?"),
    ("objective.size=parms", "Did you mean params?"),
    ("objective.alpha=0.1", "exclude each other"),
    ("objective.budget=", "needs a price or a budget"),
    ("objective.budget=lots", "must be a positive size"),
    ("objective.budget=1e9", "is more than the model has: 23,808 params"),
    ("objective.budget=100", "is less than what must stay"),
    ("resize.every_steps=0", "needs a seam"),
    ("resize.max_fraction=0", "config.resize.max_fraction"),
    ("train.num_steps=0", "config.train.num_steps=0"),
    ("train.label_smoothing=1", "config.train.label_smoothing=1"),
    ("train.z_loss=-1", "config.train.z_loss=-1"),
    ("seed=-1", "config.seed=-1"),
    ("task=vision", "config.task='vision' is unknown"),
    ("data.source=txt:a", "config.data.source"),
    ("data.source=text:/nowhere/*.txt", "/nowhere/*.txt"),
    ("mesh.data=64", "devices"),
]


@pytest.mark.parametrize(("change", "told"), WRONG)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    capsys, tmp_path, change, told
):
    workdir = tmp_path / "run"
    line = refuse(
        capsys,
        "train",
        f"--config={TINY}",
        f"--config.{change}",
        f"--workdir={workdir}",
    )
    assert told in line
    assert not workdir.exists()


def test_unknown_commands_and_flags_are_offered_the_nearest(capsys):
    assert "Did you mean train?" in refuse(capsys, "trian")
    assert "Did you mean --config?" in refuse(
        capsys, "train", "--confg=x", "--config=y"
    )
    assert "--config" in refuse(capsys, "train")
    assert "not a file" in refuse(capsys, "train", "--config=configs/quickstrat.py")
    assert "quickstart.py?" in refuse(capsys, "train", "--config=configs/quickstrat.py")
    assert "needs a value" in refuse(capsys, "train", f"--config={TINY}", "--config.a")
    assert "needs --workdir" in refuse(capsys, "train", f"--config={TINY}")


def test_numbers_of_runs_and_processes_have_bounds(capsys, tmp_path):
    config, workdir = f"--config={TINY}", f"--workdir={tmp_path / 'x'}"
    train = ("--", "train", config, workdir)
    huge = "1000000000"
    for argv in (
        ("sweep", config, workdir, f"--seeds={huge}"),
        ("launch", f"--processes={huge}", *train),
        ("launch", "--processes=2", f"--devices_per_process={huge}", *train),
        (
            *("train", config, workdir, f"--num_processes={huge}", "--process_id=0"),
            "--coordinator_address=localhost:1",
        ),
    ):
        assert f"={huge} must be" in refuse(capsys, *argv)
    numbers = ",".join(map(str, range(200)))
    grids = [f"--grid=data.batch_size={numbers}", f"--grid=train.num_steps={numbers}"]
    told = refuse(capsys, "sweep", config, workdir, *grids)
    assert "40,000 arms, more than 10,000" in told


def test_a_config_that_fails_is_told_in_one_line(capsys, tmp_path):
    for text in ("1 / 0", "x = (", "get_config = lambda: 3", "", "import nowhere"):
        (tmp_path / "c.py").write_text(text)
        assert "c.py" in refuse(capsys, "train", f"--config={tmp_path / 'c.py'}")
    (tmp_path / "c.json").write_text("{")
    assert "c.json" in refuse(capsys, "train", f"--config={tmp_path / 'c.json'}")


def test_a_folder_that_holds_no_run_is_refused(capsys, tmp_path):
    for name in ("evaluate", "generate"):
        more = ["--prompt=a"] if name == "generate" else []
        assert "holds no run" in refuse(capsys, name, f"--workdir={tmp_path}", *more)
    assert "holds no run" in refuse(capsys, "inspect", str(tmp_path))
    assert str(tmp_path) in refuse(capsys, "report", str(tmp_path))
    assert "needs --prompt" in refuse(capsys, "generate", f"--workdir={tmp_path}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(capsys, name):
    with pytest.raises(SystemExit) as done:
        main([name, "--help"])
    assert done.value.code == 0
    assert "example:" in capsys.readouterr().out


def test_a_dry_run_tells_sizes_and_writes_nothing(capsys):
    assert main(["train", f"--config={TINY}", "--dry_run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["params"] == 23808
    assert plan["seam_steps"] == [10, 15]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text_folder):
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    source = f"--config.data.source=text:{text_folder}/*.txt"
    argv = ["train", f"--config={TINY}", source, f"--workdir={workdir}"]
    assert main([*argv, "--config.mesh.data=1"]) == 0
    return workdir


def test_a_run_can_be_inspected_evaluated_and_told_about(capsys, finished, text_folder):
    assert main(["inspect", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"]
    assert len(found["architecture"]) == 2
    assert main(["inspect", str(finished)]) == 0
    assert "seam at step 10" in capsys.readouterr().out

    assert main(["evaluate", f"--workdir={finished}", "--json"]) == 0
    error = json.loads(capsys.readouterr().out)
    report = json.loads((finished / "report.json").read_text())
    assert error["bits_per_byte"] == pytest.approx(
        report["error"]["test_bits_per_byte"]
    )
    other = f"--data=text:{text_folder}/part1.txt"
    assert main(["evaluate", f"--workdir={finished}", other, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "all"

    page = finished.parent / "page.html"
    assert main(["report", str(finished), f"--output={page}"]) == 0
    assert page.is_file()


def test_a_run_writes_text(capfd, finished, tmp_path, monkeypatch):
    flags = [f"--workdir={finished}", "--max_new_tokens=8", "--temperature=0"]
    assert main(["generate", *flags, "--prompt=the "]) == 0
    streamed = capfd.readouterr().out
    assert streamed.startswith("the ")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the \nand of course\n", encoding="utf-8")
    assert main(["generate", *flags, f"--prompts_file={prompts}", "--json"]) == 0
    results = json.loads(capfd.readouterr().out)["results"]
    assert [result["prompt"] for result in results] == ["the ", "and of course"]
    assert streamed == f"the {results[0]['text']}\n"

    marked = b"\xef\xbb\xbfthe \x85 it\r\n\r\nend"  # U+0085 would be no UTF-8 here.
    prompts.write_bytes(marked.replace(b"\x85", "\x85".encode()))
    assert main(["generate", *flags, f"--prompts_file={prompts}", "--json"]) == 0
    results = json.loads(capfd.readouterr().out)["results"]
    assert [result["prompt"] for result in results] == ["the \x85 it", "", "end"]

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the \n")))
    assert main(["generate", *flags, "--prompt_file=-"]) == 0
    assert capfd.readouterr().out == streamed
    assert main(["generate", *flags, "--prompt=the ", "--num_samples=3"]) == 0
    assert capfd.readouterr().out == streamed.replace("\n", "\n---\n") * 3


def test_what_generate_cannot_do_is_refused(capsys, finished, tmp_path):
    def refuse_generate(*flags: str) -> str:
        return refuse(capsys, "generate", f"--workdir={finished}", *flags)

    assert "not UTF-8 at character 4" in refuse_generate("--prompt=caf\udce9")
    assert "--prompt is not" in refuse_generate("--prompt=caf\udce9", "--json")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for flag in ("--prompt_file", "--prompts_file"):
        told = refuse_generate(f"{flag}={tmp_path / 'latin.txt'}")
        assert "is not UTF-8 at byte 3" in told
    for number in ("0", "-1", "1000000000", "100000000", "99999999999999999999"):
        told = refuse_generate("--prompt=a", f"--max_new_tokens={number}")
        assert f"--max_new_tokens={number} must be in [1, 1048576]" in told
    assert "--num_samples=0" in refuse_generate("--prompt=a", "--num_samples=0")
    assert "--num_samples" in refuse_generate("--prompt=a", "--num_samples=1000000000")
    assert "--stop=''" in refuse_generate("--prompt=a", "--stop=")
    assert "--temperature=nan" in refuse_generate("--prompt=a", "--temperature=nan")


def test_a_cache_that_does_not_fit_is_refused(capsys, finished, monkeypatch):
    monkeypatch.setattr(decode, "device_bytes", lambda *_: 1 << 20)
    flags = [f"--workdir={finished}", "--prompt=a"]
    told = refuse(capsys, "generate", *flags, "--max_new_tokens=100000")
    assert "a cache of" in told
    assert "Take a smaller --max_new_tokens" in told
