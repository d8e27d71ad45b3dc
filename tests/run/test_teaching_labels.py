"""A classifier is distilled from another run's classifier, of the same labels alone."""

import json
import re

import pytest
from documents import ROOT
from folders import make_folder

from slimjax import tasks
from slimjax.distill.config import DistillConfig
from slimjax.errors import ConfigError
from slimjax.models.head import HeadSettings
from slimjax.run.dry_run import describe
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.run.teaching import check_answers
from slimjax.train.config import make_run_config


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "reviews.jsonl"
    lines = [{"text": f"{i} {i % 3}", "label": "ab"[i % 2]} for i in range(40)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def make_run(reviews, teacher, **distill):
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{reviews}", seq_len=24, batch_size=8),
        model=dict(kind="encoder", width=8, num_layers=1, num_heads=2, mlp_dim=8),
        objective=dict(strategy="none"),
        optim=dict(warmup_steps=0),
        distill=dict(teacher=teacher) | distill,
        train=dict(num_steps=2, eval_every_steps=0),
        mesh=dict(data=1),
    )
    config["data"] |= dict(fields=dict(text="text", label="label"))
    config["data"] |= dict(valid_fraction=0.2, test_fraction=0.2)
    # A teacher's tokenizer may be one that was trained: it is named by its folder.
    config["data"] |= dict(tokenizer=f"{teacher}/tokenizer")
    return make_run_config(config)


def fit(run, folder):
    with Display(quiet=True) as display:
        return train(run, folder, display=display)


def test_an_encoder_is_distilled_from_another_shape_and_its_hidden_states(
    reviews, tmp_path
):
    teacher = make_folder(tmp_path / "teacher", "classification", ("a", "b"))
    run = make_run(reviews, teacher, hidden_weight=0.1)
    report = fit(run, tmp_path / "taught")
    assert report["train"]["teacher_flops"] == describe(run)["teacher_flops"] > 0
    assert 0 < report["error"]["valid_nats_per_target"] < 5


@pytest.mark.parametrize(
    ("task", "names", "message"),
    [
        ("lm", (), "was trained for the task 'lm', and config.task='classification'"),
        ("classification", ("a", "c"), "has other label"),
    ],
)
def test_a_teacher_of_another_task_or_of_other_labels_is_refused(
    reviews, tmp_path, task, names, message
):
    teacher = make_folder(tmp_path / "teacher", task, names)
    with pytest.raises(ConfigError, match=message) as caught:
        fit(make_run(reviews, teacher), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "config.json").exists()


def heads_of(name, **settings):
    """Returns the heads of a task, for any data."""
    special = dict.fromkeys(("pad", "bos", "eos", "mask", "source_pad"), 0)
    task = tasks.get(name).make_task(special)
    task = task if task.fit is None else task.fit(HeadSettings(**settings))
    is_many = settings.get("multi_label", False)
    return task.heads({"vocab": 9, "labels" if is_many else "classes": 3})


def test_the_page_says_which_tasks_can_be_distilled():
    page = (ROOT / "docs" / "teachers.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\|[^|]+\| (`[^|]+) \| (yes|no)", page)
    shown = {
        name: answer == "yes"
        for names, answer in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert shown.keys() == set(tasks.names())
    config = DistillConfig(teacher="start")
    for name, is_possible in shown.items():
        if is_possible:
            check_answers(config, heads_of(name))
            continue
        with pytest.raises(ConfigError, match="is for answers of which one is right"):
            check_answers(config, heads_of(name))


def test_several_labels_are_not_distilled():
    message = "the head 'label' answers yes or no to each label or sentence"
    with pytest.raises(ConfigError, match=message) as caught:
        check_answers(
            DistillConfig(teacher="start"), heads_of("classification", multi_label=True)
        )
    assert "\n" not in str(caught.value)
