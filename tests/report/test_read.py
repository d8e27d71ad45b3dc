"""What reading a run folder promises, whatever state a kill left it in."""

import json

import pytest

from slimjax.errors import CheckpointError
from slimjax.report import read_run


def test_a_finished_run_is_read_as_it_was_written(make_run):
    run = read_run(make_run("slim"))
    assert (run.name, run.is_finished, run.last_step) == ("slim", True, 600)
    assert [len(part) for part in (run.metrics, run.seams, run.stages)] == [300, 4, 4]
    assert len(run.taken_seams) == 3
    assert [len(layers) for layers in run.architectures] == [6] * 4


def test_a_running_run_gets_the_report_that_its_logs_tell(make_run):
    run = read_run(make_run(finished=False))
    finished = read_run(make_run("finished"))
    assert not run.is_finished
    for name in ("params", "params_start", "flops_per_token"):
        assert run.report["size"][name] == finished.report["size"][name]
    known, logged = finished.report["train"], run.report["train"]
    for name in ("tokens_per_s_first_stage", "tokens_per_s_last_stage"):
        assert logged[name] == pytest.approx(known[name], rel=0.05)
    assert len(run.stages) == 4
    assert [layers[0]["num_heads"] for layers in run.architectures] == [8, 2]


def test_a_report_that_says_it_is_not_finished_is_believed(make_run):
    run = read_run(make_run(train={"finished": False, "steps": 40}))
    assert not run.is_finished


def test_a_torn_last_line_counts_as_not_yet_written(make_run):
    folder = make_run()
    whole = read_run(folder)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 602, "text": "\xe4\xbd')
    assert read_run(folder).metrics == whole.metrics


def test_a_damaged_line_in_the_middle_is_named(make_run):
    folder = make_run()
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines[4] = lines[4][:20]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl, line 5 is damaged"):
        read_run(folder)


@pytest.mark.parametrize("name", ["config", "report", "architecture"])
@pytest.mark.parametrize("content", ["", '{"a": ', "7", "\x00"])
def test_a_damaged_file_is_named(make_run, name, content):
    folder = make_run()
    (folder / f"{name}.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"{name}\.json is damaged"):
        read_run(folder)


def test_a_folder_that_is_no_run_says_what_is_missing_in_one_line(tmp_path):
    with pytest.raises(CheckpointError, match=r"no-such is not a folder. Give"):
        read_run(tmp_path / "no-such")
    with pytest.raises(CheckpointError, match=r"has no metrics\.jsonl") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_run_that_has_logged_nothing_yet_says_so(make_run):
    folder = make_run(finished=False)
    (folder / "metrics.jsonl").write_text('{"step"')
    with pytest.raises(CheckpointError, match="no complete line"):
        read_run(folder)


def test_numbers_that_json_lacks_are_read_as_none(make_run):
    folder = make_run(error={"valid_bits_per_byte": float("nan")})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 602, "loss": NaN, "params": -Infinity, "bytes": 1e999}\n')
    run = read_run(folder)
    assert run.report["error"]["valid_bits_per_byte"] is None
    last = {"step": 602, "loss": None, "params": None, "bytes": None}
    assert run.metrics[-1] == last
    json.dumps([run.report, run.metrics], allow_nan=False)


def test_a_step_that_was_logged_twice_is_kept_once_as_logged_last(make_run):
    folder = make_run()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 300, "loss": 9.5}\n')
    run = read_run(folder)
    rows = [row for row in run.metrics if row["step"] == 300]
    assert len(run.metrics) == 300
    assert [row["loss"] for row in rows] == [9.5]


def test_a_folder_with_nothing_but_metrics_is_enough(make_run):
    folder = make_run(finished=False)
    for name in ("config.json", "architecture.json", "seams.jsonl"):
        (folder / name).unlink()
    run = read_run(folder)
    assert (run.config, run.seams, run.architectures) == ({}, [], [])
    assert len(run.stages) == 1
