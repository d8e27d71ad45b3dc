"""Settings and notes of T5."""

from own_folders import config_of, random_model

from slimjax.interop.exporting import make_foreign


def test_a_t5_trained_here_says_where_its_decoder_starts(tmp_path):
    weighed = random_model(tmp_path, config_of("t5"))
    tokenizer = weighed.codecs["tokens"]
    assert make_foreign(weighed).config["decoder_start_token_id"] == 0
    del tokenizer.files["config.json"]  # As of a model that was trained here.
    tokenizer.special["bos"] = tokenizer.bos_id = 3
    config = make_foreign(weighed).config
    assert config["decoder_start_token_id"] == config["bos_token_id"] == 3
