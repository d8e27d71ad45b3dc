"""A run of two domains: mixed rows, adapters that are cut, answers by domain."""

import json
from random import Random

import numpy as np
import pytest

import slimjax
from slimjax.errors import ConfigError, DataError
from slimjax.interop.hf_export import export_hf
from slimjax.interop.stablehlo import export_stablehlo
from slimjax.report.domains import show_domains
from slimjax.report.read import read_run
from slimjax.run import loop
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.train import seam
from slimjax.train.config import make_run_config


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Returns a folder of examples of two domains, in which words mean the opposite."""
    draw, folder = Random(0), tmp_path_factory.mktemp("data")

    def write(name, number, domain=None):
        rows = []
        for i in range(number):
            word = draw.choice("ab")
            place = domain or draw.choice(["movie", "shop"])
            label = word if place == "movie" else "ab"["ba".index(word)]
            rows.append({"text": f"{word * 3} {name} {i}", "label": label})
            rows[-1] |= {} if domain else {"domain": place}
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    write("movie", 90, "movie")
    write("shop", 30, "shop")
    write("test", 40)
    return folder


def make_config(files, **data):
    config = dict(
        task="classification",
        data=dict(tokenizer="bytes", seq_len=16, batch_size=16, temperature=2.0),
        model=dict(kind="encoder", width=8, num_layers=1, num_heads=2, mlp_dim=8),
        optim=dict(learning_rate=2e-2, warmup_steps=2),
        resize=dict(first_step=40, every_steps=8, max_seams=1),
        objective=dict(strategy="exchange", size="params", budget="93%"),
        train=dict(num_steps=60, eval_every_steps=0, save_every_steps=25),
        mesh=dict(data=1),
    )
    sources = {n: f"jsonl:{files}/{n}.jsonl" for n in ("movie", "shop")}
    config["data"] |= dict(domains=sources, test_source=f"jsonl:{files}/test.jsonl")
    config["data"] |= dict(valid_fraction=0.1) | data
    config["model"] |= dict(dtype="float32", pool="mean", norm="rms")
    config["model"] |= dict(adapters=dict(width=4, skip=0.25))
    return config


def fit(config, folder):
    with Display(quiet=True) as display:
        return train(make_run_config(config), folder, display=display)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    """Returns the folder of a finished run and its report."""
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, fit(make_config(files), folder)


KILLS = {"before the seam": ("step", 33), "after the seam": ("step", 50)}
KILLS |= {"in the seam": ("seam-inside", 1), "at its end": ("seam-saved", 1)}
"""Where runs are killed: a place, and the passage of it."""


def check_killed(config, whole, when, folder, monkeypatch):
    """Asserts that a run that was killed ends with the bits of one that was not."""
    place, passage = KILLS[when]
    passages = []

    def kill(name):
        passages.append(name)
        if passages.count(place) == passage:
            raise Killed

    with monkeypatch.context() as patch:
        for module in (loop, seam):
            patch.setattr(module, "fault_point", kill)
        with pytest.raises(Killed):
            fit(config, folder)
    again = fit(config, folder)
    assert again["train"]["restarts"] == 1
    assert again["state_hash"] == whole["state_hash"]


@pytest.mark.slow
@pytest.mark.parametrize("when", KILLS)
def test_a_killed_run_draws_the_same_rows_again(
    files, finished, when, tmp_path, monkeypatch
):
    config = make_config(files)
    check_killed(config, finished[1], when, tmp_path / "run", monkeypatch)


def test_a_report_tells_what_each_domain_is_worth_and_has_kept(finished):
    folder, report = finished
    movie, shop = report["domains"]
    assert (movie["domain"], shop["domain"]) == ("movie", "shop")
    lines = (folder / "predictions-test.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    for own in (movie, shop):
        kept = own["adapter"]
        assert kept["units_start"] == 8
        assert kept["sublayers_start"] == 2
        assert kept["units"] <= 8
        right = [
            one["prediction"] == one["expected"]["label"]
            for one in answers
            if one["domain"] == own["domain"]
        ]
        assert own["test"]["num_examples"] == len(right)
        assert own["test"]["accuracy"] == pytest.approx(np.mean(right))
    assert set(answers[0]["expected"]) == {"label"}
    heading, table, _ = show_domains(read_run(folder))
    assert "Domains" in heading
    assert all(name in table for name in ("movie", "shop", "accuracy"))
    entries = json.loads((folder / "architecture.json").read_text())
    units = sum(width for _, width in entries[0].get("adapters", []))
    assert units == sum(own["adapter"]["units"] for own in (movie, shop))


def test_answers_are_those_of_the_domain_that_an_example_names(files, finished):
    folder, _ = finished
    model = slimjax.load(folder)
    text = "aaa new 1"
    names = ["movie", "shop", "phone", "", None]
    rows = [{"text": text, "domain": name} for name in names]
    found = model.predict([*rows, {"text": text}, text])
    movie, shop, *trunk = [one["scores"]["a"] for one in found]
    assert len({round(x, 5) for x in (movie, shop, trunk[0])}) == 3
    np.testing.assert_allclose(trunk, trunk[0], atol=1e-6)
    assert movie > shop
    (bad,) = model.predict([{"text": text, "domain": [1]}])
    assert "field domain is [1], not a domain" in bad["error"]
    other = evaluate_folder(folder, source=f"jsonl:{files}/test.jsonl", split="all")
    assert [own["domain"] for own in other["domains"]] == ["movie", "shop"]
    plain = evaluate_folder(folder, source=f"jsonl:{files}/shop.jsonl", split="all")
    assert [own["domain"] for own in plain["domains"]] == [None]


def test_names_of_another_model_are_refused(finished):
    folder, _ = finished
    path = folder / "tokenizer" / "domains.json"
    content = path.read_text()
    path.write_text(json.dumps({"domains": ["shop", "movie"]}))
    try:
        with pytest.raises(DataError, match="has changed since"):
            slimjax.load(folder)
    finally:
        path.write_text(content)


@pytest.mark.wrong_types  # Lengths that are symbols are no ints.
def test_a_program_reads_the_domain_and_other_formats_are_refused(finished, tmp_path):
    pytest.importorskip("flatbuffers")
    folder, _ = finished
    export_stablehlo(folder, tmp_path / "program")
    assert '"domain"' in (tmp_path / "program" / "README.md").read_text()
    with pytest.raises(ConfigError, match="has adapters of domains"):
        export_hf(folder, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@pytest.mark.slow
def test_a_trunk_gets_adapters_of_new_domains(files, finished, tmp_path):
    plain = make_config(files)
    sources = plain["data"].pop("domains")
    del plain["data"]["temperature"], plain["model"]["adapters"]
    plain["data"]["source"] = sources["movie"]
    plain["objective"] = dict(strategy="none")
    plain["train"] |= dict(num_steps=2)
    fit(plain, tmp_path / "trunk")
    config = make_config(files) | {"objective": dict(strategy="none")}
    config["train"] |= dict(num_steps=2)
    adapters = config["model"]["adapters"]
    config["model"] = dict(init_from=str(tmp_path / "trunk"), adapters=adapters)
    report = fit(config, tmp_path / "adapted")
    assert report["domains"][1]["adapter"]["units"] == 8
    assert report["init_from"]["fresh"] == ["adapters"]
    # A model that has adapters keeps them, and the names of their domains.
    config["model"] = dict(init_from=str(finished[0]))
    config["data"] |= dict(domains={"shop": sources["shop"]})
    again = fit(config, tmp_path / "again")
    kept = [own["adapter"]["units"] for own in finished[1]["domains"]]
    assert [own["adapter"]["units"] for own in again["domains"]] == kept
    config["data"] |= dict(domains={"phone": sources["shop"]})
    with pytest.raises(ConfigError, match="model has no domain phone"):
        fit(config, tmp_path / "other")


def test_adapters_need_domains_and_sublayers(files, tmp_path):
    config = make_config(files)
    del config["data"]["domains"], config["data"]["temperature"]
    config["data"]["source"] = f"jsonl:{files}/movie.jsonl"
    with pytest.raises(ConfigError, match=r"Set config\.data\.domains"):
        fit(config, tmp_path / "a")
    config = make_config(files)
    config["model"]["kind"] = "mlp"
    with pytest.raises(ConfigError, match="stand behind sublayers"):
        fit(config, tmp_path / "b")
