"""Rounds of a sweep: the best third goes on, whoever trains and whatever is killed."""

import json
import math

import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError, StoppedError
from slimjax.report.sweep_table import make_sweep_table, write_markdown
from slimjax.store.files import write_json
from slimjax.tune import runner
from slimjax.tune.arms import Arm, make_arms
from slimjax.tune.claims import Claims
from slimjax.tune.grid import parse_axis
from slimjax.tune.halving import Halving, check_halving, make_trial
from slimjax.tune.sweep import Plan, sweep

ERRORS = [1.9, 1.5, 1.2, 1.7, 1.3, 1.6, 1.4, 1.8, 1.1]
"""Of nine arms after the first round, where none is trained to its end."""

DENSE = [("objective.strategy", "none"), ("objective.budget", "")]


@pytest.fixture
def config(text_folder) -> dict:
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1"), *DENSE]
    changes += [("train.num_steps", "90"), ("optim.decay_fraction", "1.0")]
    return override(read_config("configs/tiny_test.py"), changes)


@pytest.fixture
def arms(config) -> list[Arm]:
    return make_arms(config, [parse_axis("optim.weight_decay=1,2,3,4,5,6,7,8,9")])


@pytest.fixture
def trained(monkeypatch):
    """Replaces training; returns the folders trained in, and errors to raise there."""
    names, failures = [], {}

    def train(run, workdir, **options):
        del options
        name = f"{workdir.parent.name}/{workdir.name}"
        names.append(name)
        for part, error in failures.items():
            if part in name:
                raise error
        steps, before = run.train.num_steps, run.train.continue_from
        inherited = 0.0
        if before:
            with open(f"{before}/report.json") as file:
                inherited = json.load(file)["train"]["flops_total"]
        error = ERRORS[int(run.optim.weight_decay) - 1] + run.seed / 100
        part = {"flops_total": 2.0 * steps, "flops_inherited": inherited}
        metric = {"valid_bits_per_byte": error / math.log(steps), "test_x": 0.0}
        report = {"error": metric, "train": part | {"steps": steps}}
        write_json(workdir / "config.json", run.as_dict())
        write_json(workdir / "report.json", report)
        return report

    monkeypatch.setattr(runner, "train", train)
    monkeypatch.setattr("slimjax.tune.sweep.check_arm", lambda *_: None)
    monkeypatch.setattr("jax.clear_caches", lambda: None)
    monkeypatch.setattr("gc.collect", lambda: None)
    train.names, train.failures = names, failures
    return train


def plan_of(arms, seeds=(0,), **options) -> Plan:
    return Plan(tuple(arms), seeds, halving=Halving(3, **options))


def run_it(plan, root):
    return sweep(plan, root, quiet=True)


def test_nine_arms_become_three_and_one_and_cost_a_quarter(arms, trained, tmp_path):
    result = run_it(plan_of(arms, seeds=(0, 1)), tmp_path / "s")
    rounds = result["halving"]["rounds"]
    names = [[n.removeprefix("weight_decay=") for n in r["promoted"]] for r in rounds]
    assert names == [["9", "3", "5"], ["9", "3"][:1], ["9"]]
    counts = [len([n for n in trained.names if n.startswith(f"{f}/")]) for f in FOLDERS]
    assert counts == [18, 6, 2]
    by_hand = (9 * 10 + 3 * 20 + 1 * 60) / (9 * 90)
    assert result["halving"]["steps_fraction"] == pytest.approx(by_hand)
    assert result["halving"]["flops_spent"] == pytest.approx(2 * 2 * 90 * 9 * by_hand)
    assert by_hand <= 0.35
    states = {a["name"][-1]: a["trials"][0]["state"] for a in result["arms"]}
    assert states == {str(i): "stopped" for i in range(1, 9)} | {"9": "finished"}
    assert [len(arm["rounds"]) for arm in result["arms"]] == [1, 1, 2, 1, 2, 1, 1, 1, 3]


FOLDERS = ("round1", "round2", "s")


def test_all_rounds_but_the_last_are_on_the_plateau(config, tmp_path):
    changes = [("resize.compile_allowance_flops", "9e9")]
    changes += [("distill.teacher", "runs/t"), ("distill.decay_fraction", "0.5")]
    (arm,) = make_arms(override(config, changes), [])
    for index, steps in enumerate((10, 30, 90)):
        trial = make_trial(Halving(3), arm, 4, index, tmp_path)
        optim, train = trial.run.optim, trial.run.train
        assert (train.num_steps, trial.run.seed) == (steps, 4)
        assert optim.decay_fraction == (pytest.approx(2 / 3) if index == 2 else 0.0)
        assert trial.run.distill.decay_fraction == (0.5 if index == 2 else 0.0)
        assert trial.run.resize.compile_allowance_flops == 9e9 * steps / 90
        before = f"{tmp_path}/round{index}/base-seed4" if index else ""
        assert train.continue_from == before
    short = override(config, [("optim.decay_fraction", "0.2")])
    trial = make_trial(Halving(3), Arm("a", {}, short), 4, 2, tmp_path)
    assert (trial.name, trial.run.optim.decay_fraction) == ("a-seed4", 0.2)


def test_a_sweep_that_was_stopped_anywhere_ends_the_same(arms, trained, tmp_path):
    plan = plan_of(arms[:6])
    whole, ended = run_it(plan, tmp_path / "a" / "s"), trained.failures
    for i in (0, 4, 6, len(trained.names) - 1):  # In each of the rounds.
        root = tmp_path / f"{i}" / "s"
        ended[trained.names[i]] = StoppedError("SIGTERM", exit_code=143)
        with pytest.raises(StoppedError):
            run_it(plan, root)
        ended.clear()
        assert run_it(plan, root) == whole
    assert not list(tmp_path.rglob("claims/**/*.json"))


def test_equal_errors_are_decided_by_names(arms, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("test_halving.ERRORS", [1.5 + 1e-9 * i for i in range(9)][::-1])
    result = run_it(plan_of(arms), tmp_path / "s")
    assert result["halving"]["rounds"][0]["promoted"] == [a.name for a in arms[:3]]
    del trained


def test_an_arm_that_fails_does_not_go_on_and_is_named(arms, trained, tmp_path):
    trained.failures["weight_decay=9-"] = NotFeasibleError("The loss is not finite.")
    result = run_it(plan_of(arms), tmp_path / "s")
    first = result["halving"]["rounds"][0]
    assert first["failed"] == [
        {"arm": "weight_decay=9", "reason": "The loss is not finite."}
    ]
    assert first["promoted"] == [f"weight_decay={i}" for i in (3, 5, 7)]
    trial = result["arms"][8]["trials"][0]
    assert (trial["state"], trial["reason"]) == ("failed", "The loss is not finite.")
    trained.failures.clear()
    assert run_it(plan_of(arms), tmp_path / "s") == result


def test_an_arm_that_fails_here_and_ends_elsewhere_is_ranked(
    arms, trained, tmp_path, monkeypatch
):
    """Another process begins it after it has failed here, on a larger machine."""
    root = tmp_path / "s"
    other, held = Claims(root / "claims", host="elsewhere"), []
    name = "round1/weight_decay=9-seed0"

    def note_failure(text):
        if "No memory" in text:
            held.append(other.take(name))

    def sleep(_):
        trained.failures.clear()
        trained(make_trial(Halving(3), arms[8], 0, 0, root).run, root / name)
        held.pop().drop()

    trained.failures["round1/weight_decay=9-"] = NotFeasibleError("No memory is left.")
    monkeypatch.setattr(runner.Runner, "say", lambda _, text: note_failure(text))
    monkeypatch.setattr(runner.time, "sleep", sleep)
    result = run_it(plan_of(arms), root)
    assert result["halving"]["rounds"][0]["failed"] == []
    assert "weight_decay=9" in result["halving"]["rounds"][0]["promoted"]


def test_the_page_shows_each_round_and_says_what_a_plateau_does(
    arms, trained, tmp_path
):
    result = run_it(plan_of(arms), tmp_path / "s")
    heads, rows = make_sweep_table(result)
    places = [heads.index(f"round {i}, bits per byte") for i in (1, 2, 3)]
    assert [rows[8][i] for i in places] == ["0.4777", "0.3234", "0.2445"]
    assert [rows[0][i] for i in places] == ["0.8252", "-", "-"]
    text = write_markdown(result)
    assert "26 % of the steps" in text
    assert "look worse than they would after its decay" in text
    assert "not finished" not in text
    del trained


REFUSED = [
    ([("optim.warmup_steps", "10")], r"warmup_steps=10 must be below the 10 steps"),
    ([("train.num_steps", "3"), ("optim.warmup_steps", "0")], r"too few for --halving"),
    ([("train.patience", "3")], r"train.patience=3 ends a run at any step"),
    ([("train.num_epochs", "1"), ("train.num_steps", "0")], r"num_epochs=1"),
    ([("train.continue_from", "runs/x")], r"continue_from='runs/x' continues another"),
    (
        [
            ("distill.teacher", "start"),
            ("objective.strategy", "exchange"),
            ("objective.budget", "50%"),
            ("resize.first_step", "5"),
        ],
        r"distill.teacher='start' is the model of one run",
    ),
    (
        [
            ("objective.strategy", "exchange"),
            ("objective.budget", "50%"),
            ("resize.first_step", "10"),
        ],
        r"first seam is at step 10, behind the first round.*below 10",
    ),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED)
def test_an_arm_that_has_no_such_rounds_is_refused(config, changes, told):
    arm = Arm("odd", {}, override(config, changes))
    with pytest.raises(ConfigError, match=f"^arm odd: .*{told}"):
        check_halving(Halving(3), arm)


def test_what_cannot_be_halved_is_refused_before_anything_runs(arms, trained, tmp_path):
    root = tmp_path / "s"
    for plan, told in (
        (lambda: plan_of(arms[:2]), "needs 3 arms or more, and --grid gives 2"),
        (lambda: plan_of(arms, metric="test_bits_per_byte"), "is of the test split"),
        (lambda: Plan((), (0,), "flops", Halving(3)), "exclude each other"),
        (lambda: Plan((), (0,), halving=Halving(1)), r"--halving=1 must be in \[2, 10"),
    ):
        with pytest.raises(ConfigError, match=told):
            run_it(plan(), root)
    assert not trained.names
    assert not root.exists()


def test_a_decided_round_is_not_decided_again_among_others(arms, trained, tmp_path):
    root = tmp_path / "s"
    run_it(plan_of(arms[:6]), root)
    count = len(trained.names)
    for plan, told in (
        (plan_of(arms), "--grid: .*decided among other arms; weight_decay=7 is in"),
        (plan_of(arms[:6], seeds=(0, 1)), r"--seeds: \[0, 1\], but .*decided with \[0"),
        (plan_of(arms[:6], metric="valid_nats_per_target"), "--metric: valid_nats"),
        (Plan(tuple(arms[:6]), (0,)), "no --halving, but the sweep .* has --halving=3"),
        (Plan(tuple(arms[:6]), (0,), halving=Halving(2)), "--halving=2, but"),
    ):
        with pytest.raises(ConfigError, match=told):
            run_it(plan, root)
    assert len(trained.names) == count
