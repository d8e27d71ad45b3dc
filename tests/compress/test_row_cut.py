"""What a compression with rows of the vocabulary as units promises."""

import dataclasses
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.compress.config import HEALED, Request
from slimjax.compress.describe import table
from slimjax.compress.errors import measure
from slimjax.compress.narrowing import narrow
from slimjax.compress.pipeline import compress
from slimjax.compress.preparing import catalogues_of, prepare
from slimjax.compress.row_cut import cut_rows, reencode_text
from slimjax.compress.settings import read_settings
from slimjax.compress.slimming import make_material
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.reencoding import Reencoder
from slimjax.data.vocabulary import list_entries
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.interop.gguf_export import export_gguf
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.hf_export import export_hf
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.trees import count_elements

pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
pytest.importorskip("gguf", reason="the gguf library is not installed")

from run.folders import make_folder
from vocabulary_models import NUM_ROWS, make_model

SMALL = (("data.seq_len", "24"), ("data.valid_fraction", "0.2"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tied"))


def ask(folder, workdir, budgets=("88%",), **options):
    usual: dict[str, Any] = dict(size="params", num_rows=24, num_slope_rows=4)
    usual |= dict(num_error_rows=12, overrides=SMALL, vocabulary="price")
    data = f"text:{folder}/text.txt"
    return Request(
        str(folder / "run"), data, str(workdir), budgets, **(usual | options)
    )


@pytest.fixture(scope="module")
def work(folder):
    request = ask(folder, "unused")
    return prepare(request, read_settings(request))


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """Returns the report and the folder of a model at 88 % of its parameters."""
    workdir = tmp_path_factory.mktemp("slim") / "run"
    also = (f"text:{folder}/other.txt",)
    (report,) = compress(ask(folder, workdir, also=also))
    return report, workdir


def test_a_budget_is_met_with_rows_and_units(folder, made):
    report, workdir = made
    model, whole = load(workdir), load(folder / "run")
    size = count_elements(model.params["params"])
    start = count_elements(whole.params["params"])
    assert size == report["size"]["params"]
    assert 0.86 * start < size <= 0.88 * start
    rows = report["compress"]["vocabulary"]
    assert rows["rows"] == model.tokenizer.vocab_size == model.config.vocab_size
    assert rows["rows"] < rows["rows_start"] == NUM_ROWS
    assert rows["nats_per_token"] > 0


def test_units_that_will_be_healed_are_cheaper_beside_rows(folder, work):
    request = ask(folder, "unused", heal_steps=2)
    healed = prepare(request, read_settings(request), moments=work.moments)
    limits = {"params": 0.88 * work.catalogues.first.whole}
    own, other = (w.catalogues.choose(limits) for w in (work, healed))
    assert other.structure_nats > own.structure_nats
    assert other.gates["vocab",].sum() > own.gates["vocab",].sum()
    factors = [w.catalogues.first.cut_factor for w in (work, healed)]
    assert factors == [1.0, HEALED]
    assert narrow(healed, "88%").catalogues.first.cut_factor == HEALED


def test_texts_that_were_not_calibrated_on_are_longer_and_are_reported(made):
    report, _ = made
    own, other = report["compress"]["vocabulary"]["tokens"].values()
    assert 1 <= own < other
    assert len(report["compress"]["errors"]) == 2


def test_a_kind_of_text_that_was_not_calibrated_on_is_asked_for(folder, made):
    report, workdir = made
    assert report["compress"]["notes"] == []
    (note,) = ask(folder, workdir).notes
    assert "--also" in note
    told = {**report, "compress": {**report["compress"], "notes": [note]}}
    assert f"  note: {note}" in table([told])
    assert ask(folder, workdir, vocabulary="keep").notes == ()


def test_errors_are_per_target_of_the_original(made):
    report, _ = made
    for error in report["compress"]["errors"]:
        before, after = error["before"], error["after"]
        assert before["num_targets"] == after["num_targets"]
        ratio = after["nats_per_target"] / before["nats_per_target"]
        per_byte = after["bits_per_byte"] / before["bits_per_byte"]
        np.testing.assert_allclose(ratio, per_byte, rtol=1e-12)


def test_generation_and_text_go_on_working(made):
    model = load(made[1])
    text = "Don't zebra 12,345\n\n 汉字 \x07"
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
    assert isinstance(model.generate("In the", max_new_tokens=3)[0], str)


def test_settings_beside_the_model_have_the_new_ids(made):
    _, workdir = made
    model = load(workdir)
    tokenizer = workdir / "tokenizer"
    config = json.loads((tokenizer / "config.json").read_text())
    assert config["vocab_size"] == model.tokenizer.vocab_size
    assert config["eos_token_id"] == model.tokenizer.eos_id
    generation = json.loads((tokenizer / "generation_config.json").read_text())
    assert generation["eos_token_id"] == model.tokenizer.eos_id
    run = json.loads((workdir / "config.json").read_text())
    assert run["data"]["vocab_size"] == model.tokenizer.vocab_size


@pytest.mark.parametrize("tied", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_only_rows_go_and_logits_of_the_others_stay(folder, tmp_path, tied):
    """Exactly, as long as nothing else is cut."""
    own = folder if tied else make_model(tmp_path, tied=False)
    request = ask(own, "unused")
    settings = read_settings(request)
    whole = make_material(settings.model.config, settings.model.params, {"": 24})
    entries = list_entries(json_tokenizer(settings.model))
    kept = np.flatnonzero(~entries.may_go)
    small = cut_rows(whole, kept)
    assert small.inventory.open_gates().keys() == whole.inventory.open_gates().keys()
    source = np.random.default_rng(0)
    tokens = source.integers(0, len(kept), (2, 9)).astype(np.int32)
    before = logits_of(whole, kept[tokens])[..., kept]
    np.testing.assert_array_equal(logits_of(small, tokens), before)


def json_tokenizer(model) -> JsonTokenizer:
    assert isinstance(model.tokenizer, JsonTokenizer)
    return model.tokenizer


def logits_of(material, tokens):
    readouts = material.model.module().apply(
        material.variables, {"tokens": jnp.asarray(tokens)}
    )
    return np.asarray(readouts[material.model.heads[0].name].logits())


def test_the_size_with_rows_in_the_choice_is_that_of_the_cut(work):
    budget = "88%"
    limits = {"params": 0.88 * work.start.sizes()["params"]}
    choice = work.catalogues.choose(limits)
    narrowed = narrow(work, budget)
    again = narrowed.catalogues.choose(limits)
    assert again is not None
    assert choice is not None
    assert again.size == choice.size
    kept = int(choice.gates[("vocab",)].sum())
    assert narrowed.whole.model.vocab_size == kept


def test_rows_and_units_have_one_price(work):
    """Less is lost than by either alone."""
    limits = {"params": 0.88 * work.start.sizes()["params"]}
    both = work.catalogues.choose(limits)
    units = catalogues_of(work.start, work.moments, work.settings).choose(limits)
    assert both is not None
    assert units is not None
    assert both.nats < units.nats


def test_the_same_bytes_are_scored(work):
    narrowed = narrow(work, "88%")
    old, new = work.settings.model.tokenizer, narrowed.settings.model.tokenizer
    for name, text in work.texts.items():
        rows = narrowed.texts[name].rows
        for i in range(text.rows.num_rows):
            before = old.decode_bytes(text.rows.targets[i])
            scored = rows.targets[i][rows.weights[i] > 0]
            assert new.decode_bytes(scored) == before
            first = new.decode_bytes(rows.inputs["tokens"][i][:1])
            assert old.decode_bytes(text.rows.inputs["tokens"][i][:1]).startswith(first)
        assert narrowed.texts[name].num_bytes == text.num_bytes


def test_calibration_rows_have_no_padding(work):
    rows = narrow(work, "88%").rows
    assert rows.weights.min() == 1.0
    assert rows.num_rows >= 0.9 * work.rows.num_rows


@pytest.mark.slow
def test_bytes_are_kept_to_as_well(folder, tmp_path):
    overrides = (*SMALL, ("quantize.group_size", "16"))
    options = dict(size="bytes", overrides=overrides, heal_steps=2)
    (report,) = compress(ask(folder, tmp_path / "slim", ("35%",), **options))
    budget = 0.35 * report["size"]["bytes_start"]
    assert 0.9 * budget < report["size"]["packed_file_bytes"] <= budget
    assert report["compress"]["vocabulary"]["rows"] < NUM_ROWS
    assert "--also" in report["compress"]["notes"][0]
    assert load(tmp_path / "slim").config.vocab_size < NUM_ROWS


def test_what_is_measured_is_what_is_written(work, made):
    report, workdir = made
    model = load(workdir)
    old, new = map(json_tokenizer, (work.settings.model, model))
    ids = {name: i for i, name in old.names.items()}
    kept = np.array([ids[name] for _, name in sorted(new.names.items())])
    assert new.vocab_size == len(kept)
    text = reencode_text(work.texts[work.request.data], Reencoder(old, new, kept))
    found = measure(model.config, model.params, text.rows)
    told = report["compress"]["errors"][0]["after"]
    nats = told["nats_per_target"] * told["num_targets"]
    np.testing.assert_allclose(found.nats, nats, rtol=2e-3)


@pytest.mark.slow
def test_exports_agree_with_the_new_tokenizer(made, tmp_path):
    _, workdir = made
    own = load(workdir).tokenizer
    export_hf(workdir, tmp_path / "hf")
    export_gguf(workdir, tmp_path / "m.gguf", kind="F32")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["vocab_size"] == own.vocab_size
    assert config["eos_token_id"] == own.eos_id
    for foreign in (read_folder(tmp_path / "hf"), read_gguf(tmp_path / "m.gguf")):
        again: Any = understand(foreign, str(tmp_path)).codecs["tokens"]
        assert again.vocab_size == own.vocab_size
        assert again.special["eos"] == own.eos_id
        for text in ("In the beginning", "zebra 汉字", "x**2\n\n"):
            np.testing.assert_array_equal(again.encode(text), own.encode(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(vocabulary="cheap"), "unknown"),
        (dict(budgets=("5%",)), "below"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        compress(ask(folder, tmp_path / "slim", **change))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "slim").exists()


def test_tokenizers_without_entries_that_may_go_are_refused(tmp_path, text_folder):
    request = dataclasses.replace(
        ask(tmp_path, tmp_path / "slim", overrides=()),
        data=f"text:{text_folder}/*.txt",
        model=make_folder(tmp_path / "run"),
    )
    with pytest.raises(ConfigError, match=r"needs a tokenizer\.json"):
        compress(request)
