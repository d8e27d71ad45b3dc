"""Whatever happens to a file, it is refused in one line, or loads the same model.

In ``config.json`` a number or a name may become another one that describes a model as
well. That cannot be seen; then no weight is another one, or lies in another place.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from foreign_models import MODELS
from own_folders import config_of, random_folder

from slimjax.errors import CheckpointError, SlimjaxError
from slimjax.interop.families import family_of
from slimjax.interop.foreign import Foreign
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import canonical, understand
from slimjax.interop.run_folders import write_run_folder
from slimjax.interop.tokenizers import make_tokenizer
from slimjax.store.weights import StoredModel

OTHERS = ("rope_parameters", "rope_scaling", "per_layer_config", "sliding_window")
OTHERS += ("layer_types", "id2label", "problem_type", "feed_forward_proj", "hidden_act")
OTHERS += ("num_labels", "pad_token_id", "scale_decoder_outputs", "n_inner")
NUM = 40
MANY = 1000
KINDS = tuple({name.split("-")[0]: name for name in reversed(MODELS)}.values())
"""One model of each ``model_type``."""


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Returns the function from a kind of model to what `made` has of it."""
    known = {}

    def make(kind):
        if kind not in known:
            folder = tmp_path_factory.mktemp("made") / "model"
            random_folder(folder, config_of(kind))
            imported = understand(read_folder(folder), "run")
            weights = {path: read() for path, read in imported.weights()}
            known[kind] = folder, imported, weights
        return known[kind]

    return make


@pytest.fixture(scope="module")
def made(make):
    """Returns a folder of a Llama, what it holds, and the weights of its model."""
    return make("llama")


def prefix_of(imported):
    config = imported.foreign.config
    return family_of(config).PREFIX[config["model_type"]]


def change(content: bytes, rng, upto: int) -> bytes:
    """Returns content with some bytes changed, left out, added, or all cut off."""
    kind, where = rng.integers(5), int(rng.integers(max(upto, 1)))
    if kind == 0:
        return content[:where]
    if kind == 1:
        return content[:where] + content[where + int(rng.integers(1, 9)) :]
    if kind == 2:
        added = rng.integers(0, 256, int(rng.integers(1, 9)), np.uint8).tobytes()
        return content[:where] + added + content[where:]
    if kind == 3:  # Digits and letters become others, which keeps the file readable.
        places = [i for i in range(upto) if chr(content[i]).isalnum()]
        where = int(rng.choice(places))
        new = b"0123456789abcFI"[int(rng.integers(15))]
        return content[:where] + bytes([new]) + content[where + 1 :]
    return content[:where] + rng.bytes(1) + content[where + 1 :]


def refuse(action) -> bool:
    """Returns whether an action is refused, which takes one line."""
    found = None
    try:
        action()
    except SlimjaxError as error:
        found = error
    if found is None:
        return False
    assert "\n" not in str(found)
    assert found.exit_code == 2
    return True


def header_length(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def damage_headers(made, tmp_path, count):
    folder, imported, weights = made
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    content = (folder / "model.safetensors").read_bytes()
    rng, refused, prefix = np.random.default_rng(0), 0, prefix_of(imported)
    for _ in range(count):
        changed = change(content, rng, header_length(content))
        (copy / "model.safetensors").write_bytes(changed)

        def load():
            tensors = canonical(read_folder(copy), prefix)
            imported.plan.check(tensors, "it")
            assert set(tensors) == set(imported.tensors)
            for path, read in imported.plan.read(tensors):
                np.testing.assert_array_equal(read(), weights[path])

        try:
            refused += refuse(load)
        except AssertionError:
            # Another name, which is refused as left over by all that follows.
            assert refuse(lambda: understand(read_folder(copy), "run"))
            refused += 1
    assert refused > count / 2


def damage_config(made, tmp_path, count):
    del tmp_path
    folder, imported, weights = made
    content = (folder / "config.json").read_bytes()
    rng, outcomes = np.random.default_rng(1), []
    for _ in range(count):
        changed = change(content, rng, len(content))
        try:
            config = json.loads(changed)
        except (ValueError, RecursionError):
            continue
        if not isinstance(config, dict):
            continue
        foreign = dataclasses.replace(imported.foreign, config=config)
        found = []
        if refuse(lambda f=foreign, own=found: own.append(understand(f, "run"))):
            outcomes.append("refused")
            continue
        if config == imported.foreign.config:
            assert found[0].model == imported.model
            assert found[0].run == imported.run
        outcomes.append("read")
        check_same_numbers(found[0], weights)
    assert set(outcomes) == {"refused", "read"} or count < MANY / 30


def check_same_numbers(found, weights):
    """Holds that each weight has the numbers that it had, whatever its axes are.

    Classes whose names changed may stand in another order.
    """
    read = {path: read() for path, read in found.weights()}
    assert read.keys() == weights.keys()
    for path, known in weights.items():
        mine = np.asarray(read[path])
        if path[-1] in ("embedding", "query", "key", "value", "out", "up", "down"):
            np.testing.assert_array_equal(mine.ravel(), known.ravel())
        np.testing.assert_array_equal(np.sort(mine, None), np.sort(known, None))


def damage_tokenizer(made, tmp_path, count):
    del tmp_path
    folder, imported, _ = made
    content = (folder / "tokenizer.json").read_bytes()
    rng = np.random.default_rng(2)
    for _ in range(count):
        files = {"tokenizer.json": change(content, rng, len(content))}
        foreign = Foreign(imported.foreign.config, {}, files)
        refuse(lambda f=foreign: make_tokenizer(f, imported.model.vocab_size))


DAMAGES = {"header": (damage_headers, 0.6), "config": (damage_config, 0.3)}
DAMAGES |= {"tokenizer": (damage_tokenizer, 0.1)}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_refused_or_changes_nothing(made, tmp_path, what):
    damage, part = DAMAGES[what]
    damage(made, tmp_path, int(NUM * part))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", DAMAGES)
def test_a_thousand_damages_are_refused_or_change_nothing(make, tmp_path, what, kind):
    damage, part = DAMAGES[what]
    damage(make(kind), tmp_path, int(MANY / len(KINDS) * part) + 1)


@pytest.mark.parametrize(
    "value", [None, True, -1, 0, 1.5, "x", [], {}, 10**30, float("nan"), [[[]]]]
)
@pytest.mark.parametrize("name", KINDS)
def test_strange_values_of_any_setting_are_refused_in_a_line(name, value):
    config = config_of(name)
    for key in [*config, *OTHERS]:
        changed = {**config, key: value}
        refuse(lambda c=changed: family_of(c).describe(c))


def test_each_changed_byte_of_our_own_file_is_refused(made, tmp_path):
    """Its header is compared with what would be written, its numbers with a digest."""
    _, imported, _ = made
    run = tmp_path / "run"
    write_run_folder(imported, run, "hf")
    path, rng = run / "weights.safetensors", np.random.default_rng(0)
    content = path.read_bytes()
    StoredModel.read(path)
    upto = [header_length(content)] * 250 + [len(content)] * 50
    for limit in upto:
        changed, where = bytearray(content), int(rng.integers(limit))
        changed[where] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError) as error:
            StoredModel.read(path)
        assert "\n" not in str(error.value)
