"""The length of a file is told from the shapes of its layers, and never too short."""

import gguf_models as files
import numpy as np
import pytest

from slimjax.interop.gguf_layout import LayerShape
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_size import FileSize
from slimjax.interop.gguf_tokenizer_writing import tokenizer_settings
from slimjax.interop.gguf_writing import predict_bytes

LAYERS = {
    "alike": [(4, 2, 64), (4, 2, 64), (4, 2, 64)],
    "ragged": [(4, 2, 64), (4, 1, 96), (4, 2, 32)],
    "gone": [(0, 0, 64), (4, 2, 0), (0, 0, 0)],
    "nothing": [(0, 0, 0), (0, 0, 0), (0, 0, 0)],
}


def make(path, layers):
    tokenizer = files.byte_level_settings("gpt-2")
    ragged = len(set(layers)) > 1 or not all(all(layer) for layer in layers)
    arch = "deci" if ragged else "llama"
    return read_gguf(files.llama_file(path, layers, arch=arch, tokenizer=tokenizer))


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0", "Q4_1"])
def test_lengths_are_those_of_files(tmp_path, kind):
    whole = make(tmp_path / "whole.gguf", LAYERS["alike"])
    settings = tokenizer_settings(whole, whole.config["vocab_size"])
    size = FileSize(whole, kind, settings)
    for name in ("alike", "ragged"):
        layers = LAYERS[name]
        model = make(tmp_path / f"{name}.gguf", layers)
        expected = predict_bytes(model, kind, tokenizer=settings)
        told = size.of([LayerShape(*layer) for layer in layers])
        assert 0 <= told - expected <= 128


@pytest.mark.parametrize("name", LAYERS)
def test_zeros_that_stand_in_for_sublayers_are_counted(tmp_path, name):
    """Layers without a sublayer have no tensors of it, and get some of zeros."""
    whole = make(tmp_path / "whole.gguf", LAYERS["alike"])
    size = FileSize(whole, "F16", {})
    shapes = [LayerShape(*layer) for layer in LAYERS[name]]
    config = size._with_layers(shapes)
    from slimjax.interop.foreign import Foreign

    hollow = Foreign(config, size._tensors(config), {})
    expected = predict_bytes(hollow, "F16", tokenizer={})
    assert 0 <= size.of(shapes) - expected <= 128


def test_rows_that_are_no_blocks_count_in_part(tmp_path):
    whole = make(tmp_path / "whole.gguf", LAYERS["alike"])
    size = FileSize(whole, "Q4_0", {})
    of = lambda mlp: size.of([LayerShape(4, 2, 64)] * 2 + [LayerShape(4, 2, mlp)])
    lengths = np.array([of(mlp) for mlp in (33, 40, 48, 63)])
    assert (np.diff(lengths) > 0).all()
    assert of(32) < lengths[0]
