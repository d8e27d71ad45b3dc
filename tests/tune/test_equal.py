"""A scaled run keeps its shape, and its cost is told beforehand."""

import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.tune.equal import (
    Cost,
    check_scalable,
    find_steps,
    make_pilot,
    predictor,
    read_cost,
    scale,
)

QUICK = read_config("configs/quickstart.py")


def test_the_whole_recipe_is_scaled_and_nothing_else():
    before = make_run_config(QUICK)
    after = make_run_config(scale(QUICK, 400))
    assert (before.seam_steps, after.seam_steps) == ((320, 400, 480), (160, 200, 240))
    assert (before.optim.warmup_steps, after.optim.warmup_steps) == (40, 20)
    assert after.train.num_steps == 400
    changed = {"warmup_steps", "num_steps", "first_step", "every_steps"}
    for block in ("data", "model", "objective", "optim", "resize", "train"):
        for key, value in before.as_dict()[block].items():
            if key not in changed:
                assert after.as_dict()[block][key] == value
    assert make_run_config(scale(QUICK, 800)) == before


@pytest.mark.parametrize("num_steps", [2, 3, 7, 95, 333, 799, 801, 4001])
def test_there_are_as_many_seams_at_every_length(num_steps):
    run = make_run_config(scale(QUICK, num_steps))
    assert len(run.seam_steps) == min(3, num_steps - 1)
    assert run.optim.warmup_steps >= 1
    expected = [step / 800 * num_steps for step in (320, 400, 480)]
    for step, exact in zip(run.seam_steps, expected, strict=False):
        assert abs(step - exact) <= 3


def test_parts_of_a_batch_and_logging_are_no_lengths():
    changes = [("optim.accumulation_steps", "4"), ("resize.max_seams", "0")]
    changes += [("objective.strategy", "none"), ("objective.budget", "")]
    config = override(QUICK, [*changes, ("resize.compile_allowance_flops", "8e9")])
    half = make_run_config(scale(config, 400))
    assert half.optim.accumulation_steps == 4
    assert half.train.log_every_steps == make_run_config(config).train.log_every_steps
    assert half.resize.compile_allowance_flops == 4e9


def test_a_pilot_is_an_eighth_with_its_seams_apart():
    pilot = make_run_config(make_pilot(QUICK))
    assert (pilot.train.num_steps, pilot.seam_steps) == (100, (40, 50, 60))
    assert pilot.train.eval_every_steps == 0
    tiny = make_run_config(make_pilot(read_config("configs/tiny_test.py")))
    assert (tiny.train.num_steps, tiny.seam_steps) == (5, (2, 3))


def test_a_branch_of_another_run_is_not_scaled():
    branch = make_run_config(override(QUICK, [("train.continue_from", "runs/a")]))
    with pytest.raises(ConfigError, match="Take --equal=steps"):
        check_scalable(branch)
    check_scalable(make_run_config(QUICK))


def test_the_predicted_cost_is_the_sum_over_stages():
    cost = Cost((10.0, 6.0, 4.0), 1.0, 50.0, 0.0)
    by_hand = 10 * 20 + 6 * 30 + 4 * 50 + 1 * 100 + 50
    assert cost.predict((20, 50), 100) == by_hand
    assert cost.predict((20, 50, 80), 100) == by_hand  # As if the last were not taken.


@pytest.mark.parametrize("targets", [16, 16 * 64])
def test_a_cost_is_read_whatever_a_target_is(tmp_path, targets):
    stages = [
        {"start_step": 0, "num_steps": 40, "flops_per_token": 10.0},
        {"start_step": 40, "num_steps": 60, "flops_per_token": 6.0},
    ]
    steps = 3 * targets * (40 * 10 + 60 * 6)
    train = {"flops_total": steps + 100 * 7.0 + 500.0, "teacher_flops": 100 * 7.0}
    report = {"stages": stages, "train": train, "data": {}}
    folder, run = RunFolder(tmp_path), make_run_config(scale(QUICK, 100))
    write_json(folder.config, run.as_dict())
    write_json(folder.report, report)
    folder.seams.append({"flops_spent": 500.0, "step": 40})
    cost = read_cost(tmp_path)
    assert cost.flops_by_stage[0] == pytest.approx(3 * targets * 10.0)
    assert cost.flops_by_stage[-1] == pytest.approx(3 * targets * 6.0)
    assert (cost.flops_else, cost.flops_at_seams) == (pytest.approx(7.0), 500.0)
    spent = cost.predict(run.seam_steps[:1], 100)
    assert spent == pytest.approx(train["flops_total"], rel=0.01)


def test_a_teacher_who_is_asked_once_costs_no_more_than_all_rows():
    cost = Cost((10.0,), 0.0, 0.0, 0.0, flops_of_row=2.0, num_rows=50)
    assert cost.predict((), 10, taught_rows=40) == 10 * 10 + 2 * 40
    assert cost.predict((), 30, taught_rows=120) == 10 * 30 + 2 * 50


def test_steps_are_found_that_spend_what_is_asked():
    cost = Cost((100.0, 80.0, 60.0, 50.0), 5.0, 3000.0, 0.0)
    predict = predictor(QUICK, cost)
    for flops in (5e3, 4e4, 1e5, 3e6):
        steps = find_steps(QUICK, cost, flops)
        nearest = min(abs(predict(n) - flops) for n in (steps - 1, steps + 1) if n > 1)
        assert abs(predict(steps) - flops) <= nearest
    assert find_steps(QUICK, cost, 0.0) == 2
