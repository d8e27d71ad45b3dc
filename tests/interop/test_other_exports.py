"""StableHLO runs without slimjax; the packed file is that of the run."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import shapes
from finished_runs import PERCEPTRON, make_perceptron, make_reader, make_text_run
from image_files import draw, save, write_questions
from jax import export
from own_folders import config_of, ragged, random_folder
from safetensors.numpy import load_file

import slimjax
from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.data.codecs import fingerprints, load_codecs
from slimjax.data.image_decoding import Fit
from slimjax.data.image_table import ImageShape
from slimjax.data.labels import Labels
from slimjax.data.scaling import Scaling
from slimjax.data.spelling import spell
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.interop.gguf_export import export_gguf
from slimjax.interop.hf_export import export_hf
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.packed_export import export_packed
from slimjax.interop.run_folders import write_run_folder
from slimjax.store.packed import read_packed
from slimjax.trees import flatten

SLOW = ["bert-mlm", "bert", "gpt2", "t5", "roberta-classes"]
FAST = ["llama", "bert-classes"]

PROGRAM = """
import sys
import jax, numpy as np, safetensors.numpy
folder, source, target = sys.argv[1:]
program = jax.export.deserialize(open(f"{folder}/model.stablehlo", "rb").read())
weights = safetensors.numpy.load_file(f"{folder}/weights.safetensors")
answers = program.call(weights, dict(np.load(source)))
np.save(target, next(iter(answers.values())))
assert not any(name.startswith("slimjax") for name in sys.modules)
"""


def make_run(tmp_path, config):
    random_folder(tmp_path / "model", config)
    imported = understand(read_folder(tmp_path / "model"), str(tmp_path / "run"))
    write_run_folder(imported, tmp_path / "run", "hf")
    return tmp_path / "run"


def draw_inputs(model, rows, length):
    rng, inputs = np.random.default_rng(rows), {}
    for tower in model.config.towers:
        shape = rows, length
        tokens = rng.integers(3, tower.num_inputs, shape).astype(np.int32)
        inputs[tower.reads] = tokens
        if tower.sees_all:
            inputs[f"{tower.reads}_segments"] = np.ones(shape, np.int32)
        if tower.token_types > 1:
            inputs[f"{tower.reads}_types"] = rng.integers(0, 2, shape).astype(np.int32)
    return inputs


@pytest.mark.wrong_types  # Lengths that are symbols are no ints.
@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
)
def test_a_program_answers_rows_of_any_number_and_length(tmp_path, name):
    pytest.importorskip("flatbuffers")
    from slimjax.interop.stablehlo import export_stablehlo

    config = config_of(name)
    run = make_run(tmp_path, ragged(config, 3) if name == "llama" else config)
    export_stablehlo(run, tmp_path / "program")
    model = load(run)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    for rows, length in ((1, 7), (3, 12)):
        inputs = draw_inputs(model, rows, length)
        np.savez(tmp_path / "inputs.npz", **inputs)
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "program")]
        argv += [str(tmp_path / "inputs.npz"), str(tmp_path / "answers.npy")]
        subprocess.run(argv, env=environment, check=True, cwd=tmp_path)
        head = model.config.heads[0]
        readout = model.config.module().apply(model.params, inputs)[head.name]
        expected = readout.x if head.table == "batch" else readout.logits()
        found = np.load(tmp_path / "answers.npy")
        np.testing.assert_allclose(found, expected, atol=1e-4)


SIDE, WORDS = 8, ("red", "green", "blue")
SMALL = dict(width=12, num_heads=2, mlp_dim=10, num_layers=1, filters=[5], pools=[4])
SMALL |= dict(dtype="float32")
PICTURES = {
    "a fusion": ("image_question", dict(kind="fusion", image_width=8, text_width=10)),
    "patches": (
        "image_classification",
        dict(kind="encoder", stem="patches", patch_size=4),
    ),
    "a writer of captions": (
        "caption",
        dict(kind="encoder_decoder", stem="convolution", encoder_layers=1),
    ),
    "a writer that reads a picture and a text": (
        "image_translation",
        dict(kind="encoder_decoder", stem="convolution", encoder_layers=1),
    ),
}


def train_on_pictures(folder, task, model, **changes):
    """Returns the folder of a run of one step."""
    rows = []
    for i in range(24):
        save(folder / f"{i}.png", draw(i, SIDE, SIDE))
        word = WORDS[i % 3]
        row = dict(image=f"{i}.png", question=f"is it {word}?", answer="yn"[i % 2])
        rows.append(row | dict(source=f"a {word} thing", target=word, label=word))
    path = write_questions(folder / "rows.jsonl", rows)
    data = dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=16, batch_size=4)
    data |= changes
    config = {"task": task, "model": SMALL | model, "data": data}
    config |= {"objective": {"strategy": "none"}, "mesh": {"data": 1}}
    config |= {"train": {"num_steps": 1, "eval_every_steps": 0}}
    slimjax.fit(config, folder / "run", quiet=True)
    return folder / "run"


@pytest.mark.slow
@pytest.mark.wrong_types  # Lengths that are symbols are no ints.
@pytest.mark.parametrize("name", PICTURES)
def test_a_program_of_pictures_answers_rows_of_any_number(tmp_path, name, monkeypatch):
    pytest.importorskip("flatbuffers")
    from slimjax.interop.stablehlo import export_stablehlo

    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    run = train_on_pictures(tmp_path, *PICTURES[name], normalize=NORMALIZE)
    export_stablehlo(run, tmp_path / "program")
    model, environment = load(run), os.environ | {"JAX_PLATFORMS": "cpu"}
    for rows in (1, 3):
        drawn = shapes.draw_inputs(model.config, num_rows=rows, seed=rows)
        inputs = {name: np.asarray(x) for name, x in drawn.items()}
        assert inputs["image"].dtype == np.uint8
        np.savez(tmp_path / "inputs.npz", **inputs)
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "program")]
        argv += [str(tmp_path / "inputs.npz"), str(tmp_path / "answers.npy")]
        subprocess.run(argv, env=environment, check=True, cwd=tmp_path)
        head, read = model.config.heads[0], read_image(inputs["image"], NORMALIZE)
        own = {**inputs, "image": read}
        expected = model.config.module().apply(model.params, own)[head.name].logits()
        found = np.load(tmp_path / "answers.npy")
        assert len(found) == rows
        np.testing.assert_allclose(found, expected, atol=1e-4)


NORMALIZE = (0.3, 0.4, 0.5, 0.2, 0.25, 0.5)
"""Means and deviations of three channels."""
READERS = {
    "a perceptron": PERCEPTRON,
    "a convolution": SMALL | dict(kind="encoder", stem="convolution", pools=[2]),
    "patches": SMALL | dict(kind="encoder", stem="patches", patch_size=4),
}


def read_image(pixels, normalize):
    """Returns what a model reads of bytes, by the formula of the documentation."""
    means, deviations = np.array(normalize, np.float32).reshape(2, -1)
    return (np.float32(pixels) / 255 - means) / deviations


@pytest.mark.wrong_types  # Numbers of rows that are symbols are no ints.
@pytest.mark.parametrize("name", READERS)
def test_a_program_answers_bytes_as_predict_does(tmp_path, name):
    pytest.importorskip("flatbuffers")
    from slimjax.interop.stablehlo import export_stablehlo

    shape = ImageShape(Fit(SIDE, SIDE, 3, "same"))  # As older folders have it.
    model = READERS[name]
    run = make_reader(tmp_path / "run", shape, WORDS, model, normalize=NORMALIZE)
    export_stablehlo(run, tmp_path / "program")
    program = export.deserialize((tmp_path / "program/model.stablehlo").read_bytes())
    weights = load_file(tmp_path / "program/weights.safetensors")
    images = np.stack([draw(i, SIDE, SIDE) for i in range(5)])
    (logits,) = program.call(weights, {"image": images}).values()
    answers = slimjax.load(run).predict([{"image": image} for image in images])
    expected = [[answer["scores"][word] for word in WORDS] for answer in answers]
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3  # They depend on the image.
    card = (tmp_path / "program/README.md").read_text()
    assert f"[rows, {SIDE}, {SIDE}, 3]`. They are divided by 255, and then" in card
    assert f'"image": np.ones((2, {SIDE}, {SIDE}, 3), np.uint8)' in card


@pytest.mark.wrong_types  # Numbers of rows that are symbols are no ints.
def test_a_program_answers_features_of_files_as_predict_does(tmp_path):
    pytest.importorskip("flatbuffers")
    from slimjax.interop.stablehlo import export_stablehlo

    scaling = Scaling(6, scale=1 / 127.5, shift=-1.0)
    fields = {"features": "features"}
    run = make_perceptron(tmp_path / "run", scaling, fields=fields)
    export_stablehlo(run, tmp_path / "program")
    program = export.deserialize((tmp_path / "program/model.stablehlo").read_bytes())
    weights = load_file(tmp_path / "program/weights.safetensors")
    rows = draw(0, 5, 6, 1)[..., 0].astype(np.float32)
    (logits,) = program.call(weights, {"features": rows}).values()
    answers = slimjax.load(run).predict([{"features": r.tolist()} for r in rows])
    expected = [[answer["scores"][name] for name in "ab"] for answer in answers]
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3
    card = (tmp_path / "program/README.md").read_text()
    assert f"[rows, 6]`. They become `{1 / 127.5} * x + -1.0`." in card


@pytest.mark.wrong_types  # Lengths that are symbols are no ints.
@pytest.mark.parametrize("token_table", [True, False])
def test_a_model_that_reads_bytes_of_tokens_is_exported(tmp_path, token_table):
    pytest.importorskip("flatbuffers")
    from slimjax.interop.stablehlo import export_stablehlo

    block = dict(kind="encoder", stem="characters", token_table=token_table, width=8)
    block |= dict(num_heads=2, mlp_dim=8, num_layers=1, token_bytes=3, dtype="float32")
    codecs = {"tokens": BytesTokenizer(), "label": Labels(WORDS, [1] * len(WORDS))}
    run = make_text_run(tmp_path / "run", "classification", codecs, block, seq_len=16)
    export_packed(run, tmp_path / "m.safetensors")
    export_stablehlo(run, tmp_path / "program")
    program = export.deserialize((tmp_path / "program/model.stablehlo").read_bytes())
    weights = load_file(tmp_path / "program/weights.safetensors")
    tokens = np.array([[1, *BytesTokenizer().encode("good day"), 2]], np.int32)
    given = {"tokens": tokens, "tokens_segments": np.ones_like(tokens)}
    given["tokens_bytes"] = spell(BytesTokenizer(), 3)[tokens]
    (logits,) = program.call(weights, given).values()
    (answer,) = slimjax.load(run).predict(["good day"])
    expected = [answer["scores"][word] for word in WORDS]
    np.testing.assert_allclose(jax.nn.softmax(logits[0]), expected, atol=1e-5)
    for write in (export_hf, export_gguf):
        with pytest.raises(ConfigError, match="reads the bytes of tokens, which only"):
            write(run, tmp_path / "refused")


def test_the_packed_file_comes_with_the_scale_of_images(tmp_path):
    shape = ImageShape(Fit(SIDE, SIDE, 3, "same"))
    run = make_reader(tmp_path / "run", shape, WORDS, normalize=NORMALIZE)
    export_packed(run, tmp_path / "m.safetensors")
    codecs = load_codecs(tmp_path / "m.safetensors.tokenizer")
    assert codecs["image"].normalize == NORMALIZE
    assert (
        "They are divided by 255, and then"
        in (tmp_path / "m.safetensors.md").read_text()
    )


def test_the_packed_file_has_bfloat16_weights_and_replaces_nothing(tmp_path):
    run, output = make_run(tmp_path, config_of("llama")), tmp_path / "m.safetensors"
    export_packed(run, output)
    packed = flatten(read_packed(output))
    for path, weight in flatten(load(run).params["params"]).items():
        np.testing.assert_allclose(packed[path], weight, rtol=2**-8)
    with pytest.raises(ConfigError, match="is there already"):
        export_packed(run, output)
    output.unlink()
    with pytest.raises(ConfigError, match=r"m.safetensors.tokenizer is there already"):
        export_packed(run, output)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["m.safetensors.md", "m.safetensors.tokenizer", "model", "run"]
    card = (tmp_path / "m.safetensors.md").read_text()
    assert "Made of `model`" in card
    assert "rounded to bfloat16" in card
    assert 'read_packed("m.safetensors")' in card


def test_the_packed_file_comes_with_what_names_its_answers(tmp_path):
    run, output = (
        make_run(tmp_path, config_of("bert-classes")),
        tmp_path / "m.safetensors",
    )
    result = export_packed(run, output)
    assert result["bytes"] == output.stat().st_size
    codecs, known = load_codecs(f"{output}.tokenizer"), load(run).codecs
    assert fingerprints(codecs) == fingerprints(known)
    assert codecs["label"].names == known["label"].names
    own = (tmp_path / "m.safetensors.tokenizer" / "labels.json").read_bytes()
    assert own == (run / "tokenizer" / "labels.json").read_bytes()
    assert result["notes"][0].startswith("m.safetensors.tokenizer: ")
