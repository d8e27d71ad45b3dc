"""From a GGUF file to a run folder of ours and back: the same model, to the number."""

import gguf_models as files
import jax
import jax.numpy as jnp
import llama_by_hand
import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.data.tokenizer import train_tokenizer
from slimjax.errors import ConfigError, DataError, NotFeasibleError
from slimjax.interop import gguf_export
from slimjax.interop.gguf_export import export_gguf
from slimjax.interop.gguf_header import read_header
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_tokenizer_writing import piece_settings
from slimjax.interop.hf_export import variables_of
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder

RAGGED = [(0, 0, 64), (4, 2, 96), (2, 1, 32)]
TOKENS = np.random.default_rng(0).integers(0, files.VOCAB, 24).tolist()


def byte_level(pre):
    return files.byte_level_settings(pre)


MAKERS = {
    "llama": lambda path: files.llama_file(path, tokenizer=byte_level("smollm")),
    "qwen2": lambda path: files.llama_file(
        path, arch="qwen2", biases=True, tokenizer=byte_level("qwen2")
    ),
    "deci": lambda path: files.llama_file(
        path, RAGGED, arch="deci", tokenizer=byte_level("gpt-2")
    ),
    "untied": lambda path: files.llama_file(
        path, tied=False, tokenizer=byte_level("llama-bpe")
    ),
    "linear": lambda path: files.llama_file(
        path,
        tokenizer=byte_level("smollm"),
        rope__scaling__type="linear",
        rope__scaling__factor=4.0,
    ),
}


def import_file(path, output):
    imported = understand(read_gguf(path), str(output))
    write_run_folder(imported, output, "gguf")
    return imported


def our_logits(imported, tokens):
    network, head = imported.model.module(), imported.model.heads[0]
    inputs = {"tokens": jnp.array([tokens], jnp.int32)}

    @jax.jit
    def compute(variables):
        return network.apply(variables, inputs)[head.name].logits()

    return np.asarray(compute(variables_of(imported)), np.float32)[0]


SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in ("untied", "linear", "qwen2")]


@pytest.mark.parametrize("name", ["llama", "deci", *SLOW])
def test_a_run_of_ours_computes_what_the_file_means(tmp_path, name):
    path = MAKERS[name](tmp_path / "m.gguf")
    imported = understand(read_gguf(path), str(tmp_path / "run"))
    expected = llama_by_hand.logits_of(read_gguf(path), TOKENS)
    found = our_logits(imported, TOKENS)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", [SLOW[2], "deci"])
def test_a_file_comes_back_to_the_number(tmp_path, name, capsys):
    path = MAKERS[name](tmp_path / "m.gguf")
    run, copy = tmp_path / "run", tmp_path / "copy.gguf"
    argv = ["import", "--format=gguf", f"--input={path}", f"--output={run}"]
    assert main(argv) == 0
    argv = ["export", "--format=gguf", "--type=F32", f"--workdir={run}"]
    assert main([*argv, f"--output={copy}"]) == 0
    assert "largest difference of logits" in capsys.readouterr().out
    one, other = read_gguf(path), read_gguf(copy)
    assert other.files == one.files
    for key, tensor in one.tensors.items():
        np.testing.assert_array_equal(other.tensors[key].read(), tensor.read())
    assert (copy.parent / "copy.md").read_text().count("llama_cpp.Llama") == 1
    assert main([*argv, f"--output={copy}"]) == 2  # It is there already.


@pytest.mark.parametrize(("kind", "says"), [("F32", False), ("Q8_0", True)])
def test_a_rounded_file_says_that_random_rows_are_not_text(
    tmp_path, kind, says, capsys
):
    path = files.llama_file(
        tmp_path / "m.gguf", [(4, 2, 64)], tokenizer=byte_level("gpt-2")
    )
    import_file(path, tmp_path / "run")
    argv = ["export", "--format=gguf", f"--type={kind}", f"--output={tmp_path}/a.gguf"]
    assert main([*argv, f"--workdir={tmp_path}/run"]) == 0
    printed = capsys.readouterr().out
    assert "on random rows" in printed
    assert ("--data=TEXT" in printed) == says


def test_what_gguf_does_not_hold_is_refused_and_leaves_nothing(tmp_path):
    layers = [(4, 2, 40)]
    path = files.llama_file(tmp_path / "m.gguf", layers, tokenizer=byte_level("gpt-2"))
    import_file(path, tmp_path / "llama")
    import_file(files.gpt2_file(tmp_path / "g.gguf"), tmp_path / "gpt2")
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "copy.gguf"
    with pytest.raises(DataError, match="rows of 40"):
        export_gguf(tmp_path / "llama", output, kind="Q8_0")
    with pytest.raises(ConfigError, match="Q5_K"):
        export_gguf(tmp_path / "llama", output, kind="Q5_K")
    with pytest.raises(ConfigError, match=r"'gpt2'.*hf-padded or stablehlo"):
        export_gguf(tmp_path / "gpt2", output)
    assert sorted(tmp_path.iterdir()) == before


def test_products_with_moments_are_rounded_by_second_order(tmp_path):
    path = files.llama_file(tmp_path / "m.gguf", tokenizer=byte_level("gpt-2"))
    import_file(path, tmp_path / "run")
    inputs = files.numbers((200, 3), 1) @ files.numbers((3, 64), 2)
    inputs += 0.02 * files.numbers((200, 64), 3)
    moments = {("layer_1", "mlp", "down"): inputs.T @ inputs / 200}
    plain, own = tmp_path / "plain.gguf", tmp_path / "own.gguf"
    export_gguf(tmp_path / "run", plain, kind="Q4_0")
    result = export_gguf(tmp_path / "run", own, kind="Q4_0", moments=moments)
    assert result["bytes"] == plain.stat().st_size
    model, one, other = (read_gguf(p).tensors for p in (path, plain, own))
    changed = [n for n in one if not np.array_equal(one[n].read(), other[n].read())]
    assert changed == ["model.layers.1.mlp.down_proj.weight"]
    name = changed[0]
    lost = lambda t: np.square(inputs @ (t[name].read() - model[name].read()).T).mean()
    assert lost(other) < 0.5 * lost(one)


def test_a_number_that_is_not_finite_leaves_no_run_folder(tmp_path, capsys):
    down = np.full((32, 64), np.inf, np.float32)
    extra = {"blk.1.ffn_down.weight": down}
    tokenizer = byte_level("gpt-2")
    path = files.llama_file(tmp_path / "m.gguf", extra=extra, tokenizer=tokenizer)
    argv = ["import", "--format=gguf", f"--input={path}"]
    assert main([*argv, f"--output={tmp_path / 'run'}"]) == 2
    assert "not finite" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["m.gguf"]


def test_a_file_that_answers_otherwise_is_not_left(tmp_path, monkeypatch):
    path = files.llama_file(tmp_path / "m.gguf", tokenizer=byte_level("gpt-2"))
    import_file(path, tmp_path / "run")
    before = sorted(tmp_path.iterdir())
    answers = gguf_export.answers_of
    factors = iter([1.0, 1.1])
    monkeypatch.setattr(
        gguf_export, "answers_of", lambda *given: next(factors) * answers(*given)
    )
    with pytest.raises(NotFeasibleError, match="answers otherwise"):
        export_gguf(tmp_path / "run", tmp_path / "copy.gguf", kind="F32")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("number", "pool"), [(1, "mean"), (2, "first")])
def test_a_bert_gives_vectors(tmp_path, number, pool):
    path = files.bert_file(tmp_path / "m.gguf", pooling=number)
    imported = understand(read_gguf(path), str(tmp_path / "run"))
    assert imported.run.task == "ranking"
    assert imported.model.heads[0].at == pool
    assert imported.model.main.token_types == 2


def test_a_bert_may_have_no_types_of_tokens(tmp_path):
    path = files.bert_file(tmp_path / "m.gguf", types=0)
    imported = understand(read_gguf(path), str(tmp_path / "run"))
    assert imported.model.main.token_types == 0


def test_our_own_pieces_are_written(tmp_path):
    import tokenizers

    ours = train_tokenizer(files.TEXT.splitlines(keepends=True) * 9, 320)
    size = ours.vocab_size + 2
    found = piece_settings(ours.to_proto(), ours.special, size)
    settings = {key.removeprefix("tokenizer."): v for key, v in found.items()}
    path = files.llama_file(tmp_path / "m.gguf", vocab=size, tokenizer=settings)
    model = read_gguf(path)
    theirs = tokenizers.Tokenizer.from_buffer(model.files["tokenizer.json"])
    for text in (files.TEXT, "  a model\n\tof 汉字 \U0001f9ff", " ", "unseen ζ"):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ids == ours.encode(text).tolist()
    special = read_header(path).settings
    assert special["tokenizer.ggml.eos_token_id"] == ours.eos_id


def test_a_file_of_the_user_beside_an_export_stays(tmp_path):
    path, run = MAKERS["llama"](tmp_path / "m.gguf"), tmp_path / "run"
    argv = ["import", "--format=gguf", f"--input={path}", f"--output={run}"]
    assert main(argv) == 0
    for output, notes in (("a.gguf", "a.md"), ("b", "b.md")):
        (tmp_path / notes).write_text("my notes")
        kind = "gguf" if output.endswith("gguf") else "packed"
        argv = ["export", f"--format={kind}", f"--workdir={run}"]
        assert main([*argv, f"--output={tmp_path / output}"]) == 2
        assert (tmp_path / notes).read_text() == "my notes"
        assert not (tmp_path / output).exists()
