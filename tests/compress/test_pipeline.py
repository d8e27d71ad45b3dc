"""What ``slimjax compress`` promises."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.compress.config import Request
from slimjax.compress.pipeline import compress
from slimjax.errors import ConfigError, SlimjaxError
from slimjax.generate.model import load
from slimjax.report import read_run, write_report
from slimjax.store.run_folder import RunFolder
from slimjax.trees import count_elements, flatten

SMALL = (("data.seq_len", "20"), ("data.valid_fraction", "0.2"))
AT_ONCE = ("objective.budgets", '{"params": "85%"}')
ABOVE = ("objective.budgets", '{"params": "85%", "flops": "1G"}')
UNKNOWN = ("objective.budgets", '{"weight": "85%"}')


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    from run.folders import make_folder

    layer = dict(num_heads=4, num_kv_heads=2, head_dim=4, mlp_dim=24)
    layers = [{"width": 12, **layer, "attention": True, "mlp": True}] * 2
    return make_folder(tmp_path_factory.mktemp("model") / "run", layers=layers)


def ask(source, text_folder, workdir, budgets=("85%",), **options):
    usual: dict[str, Any] = dict(size="params", num_rows=12, num_slope_rows=3)
    usual |= dict(num_error_rows=12, overrides=SMALL)
    data = f"text:{text_folder}/*.txt"
    return Request(str(source), data, str(workdir), budgets, **(usual | options))


def test_a_budget_is_met_and_the_folder_is_a_run(source, text_folder, tmp_path):
    request = ask(source, text_folder, tmp_path / "slim")
    (report,) = compress(request)
    model = load(tmp_path / "slim")
    whole = count_elements(load(source).params["params"])
    size = count_elements(model.params["params"])
    assert size == report["size"]["params"]
    assert 0.8 * whole < size <= 0.85 * whole
    assert report == json.loads((tmp_path / "slim" / "report.json").read_text())
    assert isinstance(model.generate("a", max_new_tokens=3)[0], str)


def test_several_budgets_get_a_folder_each(source, text_folder, tmp_path):
    request = ask(source, text_folder, tmp_path / "slim", ("90%", "80%"))
    reports = compress(request)
    folders = [tmp_path / "slim" / name for name in ("90percent", "80percent")]
    sizes = [count_elements(load(folder).params["params"]) for folder in folders]
    assert sizes == [report["size"]["params"] for report in reports]
    assert sizes[1] < sizes[0]
    changes = [r["compress"]["predicted_loss_change"] for r in reports]
    assert 0 < changes[0] < changes[1]


def test_the_packed_file_is_as_large_as_was_said(source, text_folder, tmp_path):
    options = dict(size="bytes", overrides=(*SMALL, ("quantize.group_size", "16")))
    request = ask(source, text_folder, tmp_path / "slim", ("45%",), **options)
    (report,) = compress(request)
    packed = RunFolder(tmp_path / "slim").packed.stat().st_size
    budget = 0.45 * report["size"]["bytes_start"]
    assert packed <= budget
    assert packed > 0.9 * budget
    assert packed == report["size"]["packed_file_bytes"]
    assert 0 <= report["size"]["bytes"] - packed <= 128  # Its header is an estimate.


def test_several_budgets_are_kept_to_at_once(source, text_folder, tmp_path):
    budgets = ("objective.budgets", '{"params": "85%", "flops": "70%"}')
    options = dict(budgets=(), overrides=(*SMALL, budgets))
    (report,) = compress(ask(source, text_folder, tmp_path / "slim", **options))
    size, told = report["size"], report["compress"]["budgets"]
    assert size["params"] <= 0.85 * size["params_start"]
    assert size["flops_per_token"] <= 0.7 * size["flops_per_token_start"]
    assert told["params"] == {
        "budget": pytest.approx(0.85 * size["params_start"]),
        "size": size["params"],
    }
    assert told["flops"]["size"] == size["flops_per_token"]


def test_what_is_measured_is_what_is_written(source, text_folder, tmp_path):
    options = dict(size="bytes", overrides=(*SMALL, ("quantize.group_size", "16")))
    request = ask(source, text_folder, tmp_path / "slim", ("40%",), **options)
    (report,) = compress(request)
    from slimjax.compress.errors import measure
    from slimjax.compress.settings import read_settings
    from slimjax.compress.texts import read_texts

    text = read_texts(request, read_settings(request))[request.data]
    model = load(tmp_path / "slim")
    found = measure(model.config, model.params, text.rows)
    told = report["compress"]["errors"][0]["after"]["nats_per_target"]
    np.testing.assert_allclose(found.nats_per_target, told, rtol=2e-3)


def test_products_are_rounded_while_it_works_alone(source, text_folder, tmp_path):
    overrides = (*SMALL, ("model.dtype", "bfloat16"))
    found = {}
    for name, own in (("rounded", overrides), ("whole", SMALL)):
        (report,) = compress(ask(source, text_folder, tmp_path / name, overrides=own))
        (errors,) = report["compress"]["errors"]
        found[name] = errors["before"]["nats_per_target"]
        dtype = "bfloat16" if name == "rounded" else "float32"
        assert report["compress"]["dtype"] == dtype
        assert load(tmp_path / name).config.dtype == "float32"
    assert found["rounded"] != found["whole"]
    np.testing.assert_allclose(found["rounded"], found["whole"], rtol=0.01)


def test_the_structure_figure_is_drawn(source, text_folder, tmp_path):
    compress(ask(source, text_folder, tmp_path / "slim"))
    run = read_run(tmp_path / "slim")
    assert len(run.architectures) == 2
    pages = write_report([run], tmp_path / "page.html")
    assert "page_structure.png" in [page.name for page in pages]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(budgets=("200%",)), "above"),
        (dict(budgets=("1%",)), "below"),
        (dict(budgets=("much",)), "positive size"),
        (dict(budgets=("80%", "80%")), "twice"),
        (dict(size="weight"), "unknown"),
        (dict(num_rows=3), "12 or more"),
        (dict(budgets=()), "needs a size"),
        (dict(overrides=(*SMALL, AT_ONCE)), "exclude each other"),
        (dict(budgets=(), overrides=(*SMALL, ABOVE)), "above the"),
        (dict(budgets=(), overrides=(*SMALL, UNKNOWN)), "is unknown"),
        (dict(overrides=(*SMALL, ("objective.alpha", "1"))), "no setting"),
        (dict(overrides=(*SMALL, ("train.num_steps", "3"))), "no setting"),
        (dict(overrides=(("data.seq_len", "100000"),)), "more than 23"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    source, text_folder, tmp_path, changes, message
):
    with pytest.raises(SlimjaxError, match=message) as caught:
        compress(ask(source, text_folder, tmp_path / "slim", **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "slim").exists()


def test_a_short_text_is_refused(source, text_folder, tmp_path):
    (tmp_path / "short.txt").write_text("A few words are no text. " * 8)
    also = (f"text:{tmp_path}/short.txt",)
    with pytest.raises(SlimjaxError, match="12 are needed"):
        compress(ask(source, text_folder, tmp_path / "slim", also=also))
    assert not (tmp_path / "slim").exists()


def test_a_full_folder_is_refused(source, text_folder, tmp_path):
    (tmp_path / "slim").mkdir()
    (tmp_path / "slim" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not empty"):
        compress(ask(source, text_folder, tmp_path / "slim"))


def test_the_command_prints_what_it_cost(source, text_folder, tmp_path, capsys):
    flags = [f"--model={source}", f"--data=text:{text_folder}/*.txt"]
    flags += ["--size=params", "--budget=90%", f"--workdir={tmp_path / 'slim'}"]
    flags += ["--rows=12", "--slope_rows=2", "--error_rows=12", "--seams=2"]
    flags += [f"--config.{name}={value}" for name, value in SMALL]
    assert main(["compress", *flags]) == 0
    said = capsys.readouterr().out
    assert "perplexity" in said
    assert "as fast in bfloat16" in said
    assert "  seam 2: " in said
    page = (tmp_path / "slim" / "report.html").read_text()
    assert "writing, bfloat16" in page
    assert "perplexity, text:" in page


def test_a_token_of_a_smaller_model_reads_fewer_bytes(source, text_folder, tmp_path):
    request = ask(source, text_folder, tmp_path / "slim", times_decoding=True)
    (report,) = compress(request)
    names = ("query", "key", "value", "out", "up", "down", "gate", "embedding")
    whole, slim = (
        sum(
            w.size for p, w in flatten(model.params["params"]).items() if p[-1] in names
        )
        for model in (load(source), load(tmp_path / "slim"))
    )
    assert report["compress"]["decoding"][0]["weights"] == "bfloat16"
    for timed in report["compress"]["decoding"]:
        assert timed["bytes_ratio"] == pytest.approx(whole / slim)
        assert 0 < timed["low"] <= timed["ratio"] <= timed["high"]


def test_logits_of_the_result_are_finite(source, text_folder, tmp_path):
    compress(ask(source, text_folder, tmp_path / "slim", ("80%",)))
    model = load(tmp_path / "slim")
    logits = model.apply(jnp.arange(3, 15)[None])
    assert bool(jax.numpy.isfinite(logits).all())
