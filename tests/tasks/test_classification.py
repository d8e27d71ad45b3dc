"""Classification as one file: from labelled files to a slim model that is evaluated."""

import json
from random import Random

import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.errors import DataError
from slimjax.run import loop
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import classification
from slimjax.train.config import make_run_config

WORDS = {"bad": ["awful", "dull", "poor"], "good": ["fine", "great", "bright"]}


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """Returns a jsonl file of 300 texts, whose words tell their label."""
    draw, path = Random(0), tmp_path_factory.mktemp("data") / "reviews.jsonl"
    lines = []
    for number in range(300):
        label = draw.choice(sorted(WORDS))
        words = [*draw.choices(WORDS[label], k=2), *draw.choices("abcdefgh", k=3)]
        draw.shuffle(words)
        lines.append({"review": f"{' '.join(words)} {number}", "stars": label})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def make_run(source, **blocks):
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{source}", tokenizer="bytes", seq_len=32),
        model=dict(kind="encoder", width=16, num_layers=2, num_heads=2, mlp_dim=24),
        objective=dict(strategy="exchange", size="params", budget="80%"),
        optim=dict(learning_rate=1e-2, warmup_steps=5),
        resize=dict(first_step=30, every_steps=20, max_seams=1),
        train=dict(num_steps=60, eval_every_steps=20, save_every_steps=20),
        mesh=dict(data=1),
    )
    config["data"] |= dict(batch_size=16, fields=dict(text="review", label="stars"))
    config["data"] |= dict(valid_fraction=0.2, test_fraction=0.2)
    config["model"] |= dict(dtype="float32", pool="mean", dropout=0.1)
    for name, block in blocks.items():
        config[name] = config[name] | block if name in config else block
    return make_run_config(config)


def fit(run, folder):
    with Display(quiet=True) as display:
        return train(run, folder, display=display)


@pytest.fixture(scope="module")
def finished(reviews, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, fit(make_run(reviews), folder)


def test_a_slim_encoder_learns_what_words_mean(finished):
    _, report = finished
    metrics = {metric["key"]: metric for metric in report["metrics"]}
    assert next(iter(metrics)) == "accuracy"
    assert metrics["accuracy"]["test"] > 0.9
    assert metrics["macro_f1"]["test"] > 0.9
    for metric in metrics.values():
        assert metric["test_low"] <= metric["test"] <= metric["test_high"]
    assert report["error"]["test_accuracy"] == metrics["accuracy"]["test"]
    assert 0.75 < report["size"]["params_fraction"] <= 0.8
    assert report["samples"] == []


def test_the_log_has_the_headline_on_the_way(finished):
    lines = (finished[0] / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [line["step"] for line in logged if "valid_accuracy" in line] == [20, 40, 60]


def test_labels_are_kept_and_evaluation_agrees_with_the_report(finished, reviews):
    folder, report = finished
    labels = json.loads((folder / "tokenizer" / "labels.json").read_text())
    assert labels["labels"] == ["bad", "good"]
    found = evaluate_folder(folder, source=None, split="test")
    assert found["accuracy"] == report["error"]["test_accuracy"]
    everything = evaluate_folder(folder, source=f"jsonl:{reviews}", split="all")
    assert everything["num_targets"] == 300


def test_commands_know_what_a_classifier_does(finished, reviews, capsys):
    flag = f"--workdir={finished[0]}"
    assert main(["generate", flag, "--prompt=fine"]) == 2
    refusal = capsys.readouterr()
    assert refusal.out == ""
    assert "generates no text" in refusal.err
    assert len(refusal.err.strip().splitlines()) == 1
    assert main(["evaluate", flag, f"--data=jsonl:{reviews}"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["inspect", str(finished[0])]) == 0
    assert "MLP width" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bits(
    finished, reviews, tmp_path, monkeypatch
):
    def kill(place):
        if place == "seam-saved":
            raise Killed

    run = make_run(reviews)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            fit(run, tmp_path / "run")
    again = fit(run, tmp_path / "run")
    assert again["state_hash"] == finished[1]["state_hash"]


@pytest.mark.slow
def test_bits_and_a_teacher_go_with_it(reviews, tmp_path):
    budget = dict(size="bytes", budget="45%")
    blocks = dict(objective=budget, quantize=dict(bits=[16, 8, 4]))
    report = fit(make_run(reviews, distill=dict(teacher="start"), **blocks), tmp_path)
    assert report["size"]["bytes"] <= 0.45 * report["size"]["bytes_start"]
    assert report["train"]["teacher_flops"] > 0
    assert report["error"]["test_accuracy"] > 0.85


def test_a_plain_perceptron_reads_numbers_of_a_table_and_slims(tmp_path, capsys):
    draw = np.random.default_rng(0)
    points = draw.integers(0, 256, (200, 6))
    rows = [[*point, int(point[:3].sum() > point[3:].sum())] for point in points]
    path = tmp_path / "points.csv"
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    fields = dict(features="0:6", label=6)
    data = dict(source=f"csv:{path}", header=False, fields=fields, normalize=[0.5, 0.5])
    model = dict(kind="mlp", width=16, mlp="relu", dropout=0.0)
    train_block = dict(num_steps=0, num_epochs=6)
    run = make_run("", data=data, model=model, train=train_block)
    report = fit(run, tmp_path / "run")
    assert report["error"]["test_accuracy"] > 0.75
    assert 0.7 < report["size"]["params_fraction"] <= 0.8
    assert main(["inspect", str(tmp_path / "run")]) == 0
    assert "hidden 0" in capsys.readouterr().out


def test_a_label_that_train_lacks_is_refused(reviews, tmp_path):
    other = tmp_path / "test.jsonl"
    other.write_text(json.dumps({"review": "so so", "stars": "fair"}) + "\n")
    data = dict(test_source=f"jsonl:{other}")
    with pytest.raises(DataError, match=r"test\.jsonl.*fair"):
        fit(make_run(reviews, data=data), tmp_path / "run")


def test_macro_f1_counts_all_classes_alike():
    rows = {"label": np.array([0, 0, 0, 1]), "prediction": np.array([0, 0, 0, 0])}
    own = {metric.key: metric.of for metric in classification.METRICS}
    assert float(own["accuracy"](rows)) == 0.75
    assert float(own["macro_f1"](rows)) == pytest.approx((6 / 7 + 0) / 2)


def test_a_dry_run_prints_what_a_person_checks_first(reviews, capsys):
    argv = ["train", "--config=classification", "--dry_run"]
    argv += [f"--config.data.source=jsonl:{reviews}", "--config.data.tokenizer=bytes"]
    argv += ['--config.data.fields={"text":"review","label":"stars"}']
    argv += ["--config.data.seq_len=16", "--config.model.width=16"]
    assert main(argv) == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    found = {name: value.strip() for name, value in lines.items()}
    assert found["label_train"].startswith(("good ", "bad "))
    assert int(found["examples_train"]) > 200
    assert 16 < int(found["tokens_median"]) <= int(found["tokens_longest"])
    assert found["cut_train"].endswith("%)")
    assert found["repeated"] == found["contradictions"] == "0"
