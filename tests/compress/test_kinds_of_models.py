"""Compression of each kind of model: each has an error of its own."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from compress.tiny import SHAPES
from own_folders import config_of, random_folder

from slimjax.compress.config import Request
from slimjax.compress.describe import table
from slimjax.compress.pipeline import compress
from slimjax.compress.settings import read_settings
from slimjax.compress.texts import load_data
from slimjax.compress.walk import check_walkable
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.interop.hf_export import export_hf
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder
from slimjax.models import HeadConfig, encoder, recipes
from slimjax.models.adapters import add_adapters
from slimjax.run.evaluate import evaluate_folder
from slimjax.trees import flatten

WORDS = ["the", "quick", "brown", "fox", "lazy", "dog", "sleeps", "gold", "told"]
SMALL = (("data.seq_len", "16"), ("data.valid_fraction", "0.3"))


def make_lines(seed, count=90, length=9):
    source = np.random.default_rng(seed)
    return [" ".join(source.choice(WORDS, length)) for _ in range(count)]


def make_tags(line):
    names = {"fox": "B-PER", "dog": "B-LOC"}
    return [names.get(word, "O") for word in line.split()]


TEXTS = ("bert-mlm", "roberta-mlm", "gpt2", "qwen2")
"""Kinds of models that read plain text."""

KINDS = ("t5", "bert", "bert-classes", "bert-tags", "roberta-classes", *TEXTS)


def write_data(folder, kind):
    """Writes examples of a kind of model; returns their source."""
    lines = make_lines(0)
    plain = lambda line: {"text": line}
    examples = {
        "t5": lambda line: {"source": line, "target": " ".join(line.split()[:4])},
        "bert-tags": lambda line: {"tokens": line.split(), "tags": make_tags(line)},
    }.get(kind, plain)
    if kind.endswith("-classes"):
        examples = lambda line: {"text": line, "label": f"LABEL_{len(line) % 3}"}
    path = folder / "data.jsonl"
    path.write_text("".join(f"{json.dumps(examples(line))}\n" for line in lines))
    return f"jsonl:{path}" + ("#text" if kind in TEXTS else "")


def import_model(folder, kind):
    random_folder(folder / "hf", config_of(kind))
    write_run_folder(
        understand(read_folder(folder / "hf"), "run"), folder / "run", "hf"
    )
    return str(folder / "run")


def ask(folder, kind, budget="85%", **options):
    usual: dict[str, Any] = dict(size="params", num_rows=24, num_slope_rows=6)
    usual |= dict(num_error_rows=12)
    usual |= dict(overrides=SMALL)
    model, data = import_model(folder, kind), write_data(folder, kind)
    workdir = str(folder / "slim")
    return Request(model, data, workdir, (budget,), **(usual | options))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_model_is_made_smaller(tmp_path, kind):
    request = ask(tmp_path, kind)
    (report,) = compress(request)
    size = report["size"]
    assert 0.8 * size["params_start"] < size["params"] <= 0.85 * size["params_start"]
    slim = load(request.workdir)
    assert (
        sum(w.size for w in flatten(slim.params["params"]).values()) == size["params"]
    )
    found = report["compress"]["errors"][0]
    assert np.isfinite(found["after"]["nats_per_target"])
    assert report["compress"]["predicted_loss_change"] > 0
    assert any("original" in line or "perplexity" in line for line in table([report]))
    assert slim.config.main.style == load(request.model).config.main.style
    if kind in TEXTS:
        assert found["before"]["perplexity"] > 1


def add_domains(folder):
    """Has a run folder say that its examples are of domains; their files are gone."""
    path = folder / "run/config.json"
    config = json.loads(path.read_text())
    config["data"] |= {"domains": {"movie": "jsonl:gone.jsonl"}, "temperature": 2.0}
    config["data"]["source"] = ["jsonl:gone.jsonl"]
    path.write_text(json.dumps(config))


def test_data_take_the_place_of_all_domains(tmp_path):
    request = ask(tmp_path, "bert-classes")
    add_domains(tmp_path)
    settings = read_settings(request)
    run, codecs = settings.run, settings.model.codecs
    assert (run.data.domains, run.data.source) == ({}, request.data)
    assert load_data(run, codecs, request.data, held_out=True).num_rows("valid") == 90
    stored = dataclasses.replace(run.data, source="stdlib", domains={"a": request.data})
    stored_run = dataclasses.replace(run, data=stored)
    other = load_data(stored_run, codecs, request.data, held_out=True)
    assert other.num_rows("valid") == 90


@pytest.mark.slow
def test_a_model_of_pooled_domains_is_made_smaller(tmp_path):
    request = ask(tmp_path, "bert-classes")
    add_domains(tmp_path)
    compress(request)
    found = evaluate_folder(request.workdir, source=request.data, split="all")
    assert found["num_examples"] == 90


def test_vectors_are_measured_by_their_cosine(tmp_path):
    (report,) = compress(ask(tmp_path, "bert"))
    found = report["compress"]["errors"][0]
    assert found["before"]["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert 0.3 < found["after"]["cosine"] < 1.0
    lost = report["compress"]["true_loss_change"]
    assert found["after"]["cosine"] == pytest.approx(1 - lost, abs=1e-5)
    assert "perplexity" not in found["after"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "bert", "roberta-classes", *TEXTS])
def test_each_kind_of_model_is_rounded_and_healed(tmp_path, kind):
    bits = (("quantize.bits", "[4, 8]"), ("quantize.group_size", "8"))
    request = ask(
        tmp_path, kind, "60%", size="bytes", heal_steps=2, overrides=(*SMALL, *bits)
    )
    (report,) = compress(request)
    assert report["size"]["packed_file_bytes"] <= 0.6 * report["size"]["bytes_start"]
    assert report["compress"]["healing"]["flops"] > 0
    assert np.isfinite(report["compress"]["errors"][0]["after"]["nats_per_target"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "roberta-mlm"])
def test_each_kind_is_exported_after_it(tmp_path, kind):
    compress(ask(tmp_path, kind))
    export_hf(tmp_path / "slim", tmp_path / "again")
    again = understand(read_folder(tmp_path / "again"), "run")
    found, slim = dict(again.weights()), load(tmp_path / "slim")
    weights = flatten(slim.params["params"])
    assert found.keys() == weights.keys()
    for path, read in found.items():
        np.testing.assert_array_equal(read(), np.asarray(weights[path], np.float32))


@pytest.mark.slow
def test_heads_of_cross_attention_may_go(tmp_path):
    """With self-attention and MLPs frozen, nothing else is left to go."""
    frozen = ("resize.frozen", '["encoder", "*.attention", "*.mlp"]')
    request = ask(tmp_path, "t5", "97%", overrides=(*SMALL, frozen))
    (report,) = compress(request)
    whole, slim = load(request.model), load(request.workdir)
    heads = [
        [layer.cross_heads for layer in model.config.layers] for model in (whole, slim)
    ]
    assert sum(heads[1]) < sum(heads[0])
    assert report["size"]["params"] <= 0.97 * report["size"]["params_start"]


def test_too_few_texts_are_refused(tmp_path):
    request = ask(tmp_path, "bert")
    (tmp_path / "data.jsonl").write_text('{"text": "one text"}\n' * 40)
    with pytest.raises(Exception, match="12 are needed") as caught:
        compress(request)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "slim").exists()


def test_models_of_features_are_refused():
    head = HeadConfig("label", 3, at="first")
    with pytest.raises(ConfigError, match="decoders, encoders"):
        check_walkable(recipes.mlp(5, 4, heads=(head,)))


def test_models_with_adapters_of_domains_are_refused():
    head = HeadConfig("label", 3, at="mean")
    model = encoder(29, 16, SHAPES, heads=(head,), num_positions=12)
    towers = tuple(add_adapters(tower, ("a", "b"), 2) for tower in model.towers)
    with pytest.raises(ConfigError, match=r"adapters of domains\. Slim this one with"):
        check_walkable(dataclasses.replace(model, towers=towers))
