"""Settings and notes of T5."""

import dataclasses

import numpy as np
import pytest
from own_folders import config_of, random_model

from slimjax.interop.exporting import make_foreign
from slimjax.interop.foreign import Tensor
from slimjax.interop.importing import understand


def test_a_t5_trained_here_says_where_its_decoder_starts(tmp_path):
    weighed = random_model(tmp_path, config_of("t5"))
    tokenizer = weighed.codecs["tokens"]
    assert make_foreign(weighed).config["decoder_start_token_id"] == 0
    del tokenizer.files["config.json"]  # As of a model that was trained here.
    tokenizer.special["bos"] = tokenizer.bos_id = 3
    config = make_foreign(weighed).config
    assert config["decoder_start_token_id"] == config["bos_token_id"] == 3


@pytest.mark.parametrize("ties", [True, False])
def test_only_a_table_that_should_be_tied_has_a_note(tmp_path, ties):
    given = make_foreign(random_model(tmp_path, config_of("t5")))
    shape = given.tensors["shared.weight"].shape
    own = Tensor.of(np.ones(shape, np.float32))
    config = given.config | {"tie_word_embeddings": ties}
    tensors = {**given.tensors, "lm_head.weight": own}
    found = understand(
        dataclasses.replace(given, config=config, tensors=tensors), str(tmp_path)
    )
    assert any("although config.json ties them" in n for n in found.notes) == ties
    assert found.model.heads[0].table == "own"
