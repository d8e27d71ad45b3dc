"""Ragged models, padded with zeros, answer alike in stock classes of transformers."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from own_folders import config_of, ragged, random_folder  # noqa: E402

from slimjax.generate.model import load  # noqa: E402
from slimjax.interop.hf_export import export_hf  # noqa: E402
from slimjax.interop.hf_reading import read_folder  # noqa: E402
from slimjax.interop.importing import understand  # noqa: E402
from slimjax.interop.run_folders import write_run_folder  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
DEPTH = {"num_hidden_layers": 5}
CASES = [
    ("llama", DEPTH, 1),
    ("llama-tied", DEPTH, 2),
    ("qwen2", DEPTH, 3),
    ("mistral", DEPTH, 4),
    ("gpt2", {"n_layer": 5}, 5),
    ("bert-mlm", DEPTH, 6),
    ("roberta-mlm", DEPTH, 7),
    ("bert-classes", DEPTH, 8),
    ("distilbert-mlm", {"n_layers": 5}, 9),
]


@pytest.mark.parametrize(("name", "changes", "seed"), CASES)
def test_a_padded_twin_answers_alike(tmp_path, name, changes, seed):
    config = ragged(config_of(name, **changes), seed)
    random_folder(tmp_path / "ragged", config, seed)
    imported = understand(read_folder(tmp_path / "ragged"), str(tmp_path / "run"))
    write_run_folder(imported, tmp_path / "run", "hf")
    export_hf(tmp_path / "run", tmp_path / "twin", padded=True)
    ours = load(tmp_path / "run")
    assert len({(y.attention, y.mlp) for y in ours.config.layers}) > 2
    cls = getattr(transformers, config["architectures"][0])
    theirs, report = cls.from_pretrained(tmp_path / "twin", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    rng = np.random.default_rng(seed)
    tokens = rng.integers(5, ours.config.vocab_size, (2, 20)).astype(np.int32)
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(tokens).long()).logits.numpy()
    readouts = ours.config.module().apply(ours.params, {"tokens": jnp.asarray(tokens)})
    found = np.asarray(readouts[ours.config.heads[0].name].logits())
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_ragged_t5_is_padded_with_a_table_for_all_layers(tmp_path):
    """Heads of layers keep their own columns of the table of distances."""
    from own_folders import random_model

    from slimjax.interop.exporting import make_foreign
    from slimjax.interop.hf_writing import write_folder
    from slimjax.interop.padding import pad

    whole = random_model(tmp_path / "whole", config_of("t5"))
    small = cut_t5(whole)
    foreign = make_foreign(pad(small))
    (tmp_path / "twin").mkdir()
    write_folder(foreign, tmp_path / "twin")
    cls = transformers.T5ForConditionalGeneration
    theirs = cls.from_pretrained(tmp_path / "twin").eval()
    rng = np.random.default_rng(0)
    size = small.model.main.num_inputs
    source = rng.integers(3, size, (2, 13)).astype(np.int32)
    target = rng.integers(3, size, (2, 9)).astype(np.int32)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(source).long(),
            decoder_input_ids=torch.tensor(target).long(),
        ).logits.numpy()
    inputs = {"source": jnp.asarray(source), "tokens": jnp.asarray(target)}
    variables = variables_of(small)
    found = small.model.module().apply(variables, inputs)["tokens"].logits()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def variables_of(weighed):
    """Returns weights and open gates."""
    import jax
    from flax import linen as nn

    from slimjax.trees import unflatten

    weights = {path: jnp.asarray(weighed.read(path)) for path in weighed.shapes}
    gates = nn.meta.unbox(weighed.model.abstract_variables())["gates"]
    gates = jax.tree.map(lambda gate: jnp.ones(gate.shape), gates)
    return {"params": unflatten(weights), "gates": gates}


def cut_t5(whole):
    """Returns a T5 without some heads, one attention and one MLP."""
    import dataclasses

    from slimjax.models.paths import layer_of
    from slimjax.trees import axis_names, flatten

    kept = {"": [[0, 2], [], [1, 3, 2]], "encoder": [[3], [1, 2, 0]]}
    kept = {name: [sorted(own) for own in lists] for name, lists in kept.items()}
    no_mlp = ("encoder", 0)
    towers = []
    for tower in whole.model.towers:
        layers = []
        for number, layer in enumerate(tower.layers):
            heads = len(kept[tower.name][number])
            changes = dict(num_heads=heads, num_kv_heads=heads, attention=heads > 0)
            if (tower.name, number) == no_mlp:
                changes |= dict(mlp=False, mlp_dim=0)
            layers.append(dataclasses.replace(layer, **changes))
        towers.append(dataclasses.replace(tower, layers=tuple(layers)))
    model = dataclasses.replace(whole.model, towers=tuple(towers))
    axes = flatten(axis_names(model.abstract_variables())["params"])

    def read(path):
        weight, place = whole.read(path), layer_of(path)
        if place.number is None or place.rest[0] != "attention":
            return weight
        heads = kept[place.tower][place.number]
        for axis, name in enumerate(axes[path]):
            if name in ("heads", "kv_heads"):
                weight = np.take(weight, heads, axis)
        return weight

    return dataclasses.replace(whole, model=model, read=read)
