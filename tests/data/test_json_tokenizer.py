"""Tokenizers of other libraries: any special ids, any vocabulary, exact counts."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data import DataConfig, load_language_dataset, load_tokenizer
from slimjax.data.labelled import load_labelled_dataset
from slimjax.data.piece_bytes import byte_alphabet
from slimjax.data.tokenizer import read_tokenizer_file
from slimjax.data.tokenizer_choice import expected_vocab
from slimjax.data.tokens import complete_special_ids, sizes_by_ends
from slimjax.errors import DataError

tokenizers = pytest.importorskip(
    "tokenizers", reason="the tokenizers library is not installed"
)
from tokenizers import (  # noqa: E402
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = "Hello world, héllo 汉字 🙂 again and again.\n\nA new line  and two spaces. "
WORDS = st.sampled_from([*TEXT.split(), "ζ", " ", "\n", "[MASK]", "</s>", "unseen"])
TEXTS = st.lists(WORDS, max_size=9).map(" ".join)


def make_byte_level():
    """Returns GPT-2's kind, whose one special token comes last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def make_word_piece():
    """Returns BERT's kind, with a padding and a truncation of its own."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    names = ["[UNK]", "x", "[CLS]", "[SEP]", "[MASK]", "[PAD]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=90, special_tokens=names, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=20, pad_id=5, pad_token="[PAD]")
    tokenizer.enable_truncation(7)
    return tokenizer


def make_unigram():
    """Returns T5's kind, which has no beginning of a text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    return tokenizer


MAKERS = {"bpe": make_byte_level, "wordpiece": make_word_piece, "unigram": make_unigram}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Returns the path of a tokenizer.json by kind."""
    paths = {}
    for kind, make in MAKERS.items():
        path = tmp_path_factory.mktemp(kind) / "tokenizer.json"
        make().save(str(path))
        paths[kind] = path
    return paths


@pytest.fixture(params=MAKERS)
def path(request, files):
    return files[request.param]


def test_special_ids_are_found_wherever_they_are(files):
    bpe, bert, t5 = (read_tokenizer_file(files[kind]) for kind in MAKERS)
    last = bpe.vocab_size - 1
    assert bpe.special == {"pad": last, "bos": last - 1, "eos": last - 1}
    expected = {"pad": 5, "bos": 2, "eos": 3, "unk": 0, "mask": 4}
    assert bert.special == expected
    assert t5.special == {"pad": 0, "bos": 1, "eos": 1, "unk": 2}


def test_files_beside_it_name_special_tokens(tmp_path):
    tokenizer = make_unigram()
    tokenizer.add_special_tokens(["<begin>", "<fill>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {"bos_token": {"content": "<begin>"}, "pad_token": "<fill>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(config))
    found = read_tokenizer_file(tmp_path / "tokenizer.json")
    number = tokenizer.token_to_id
    assert found.bos_id == number("<begin>")
    assert found.pad_id == number("<fill>")
    assert found.eos_id == 1


@pytest.mark.parametrize(
    ("found", "expected", "vocab_size"),
    [
        ({"pad": 0, "bos": 1, "eos": 2}, {"pad": 0, "bos": 1, "eos": 2}, 9),
        ({"pad": None, "bos": 3, "eos": None}, {"pad": 9, "bos": 3, "eos": 3}, 10),
        ({"pad": 4, "bos": None, "eos": 4}, {"pad": 9, "bos": 4, "eos": 4}, 10),
        ({}, {"pad": 10, "bos": 9, "eos": 9}, 11),
        ({"pad": 8}, {"pad": 8, "bos": 9, "eos": 9}, 10),
    ],
)
def test_missing_special_ids_are_completed(found, expected, vocab_size):
    assert complete_special_ids(found, 9) == (expected, vocab_size)


@given(TEXTS)
def test_any_text_is_encoded_and_its_bytes_add_up(files, text):
    for path in files.values():
        tokenizer = read_tokenizer_file(path)
        ids, sizes = tokenizer.encode_with_bytes([text])[0]
        np.testing.assert_array_equal(ids, tokenizer.encode(text))
        controls = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
        assert not controls & set(ids.tolist())
        assert len(ids) == len(sizes)
        assert (sizes >= 0).all()
        assert sizes.sum() <= len(text.encode())
        assert not text.strip() or sizes.sum() >= len(text.rstrip().encode())
        assert len(tokenizer.decode_bytes(ids)) == sum(
            len(tokenizer.decode_bytes([i])) for i in ids
        )


@given(TEXTS)
def test_a_byte_level_vocabulary_gives_any_text_back(files, text):
    tokenizer = read_tokenizer_file(files["bpe"])
    ids = tokenizer.encode(text)
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.decode(ids) == text


def test_other_vocabularies_give_words_back(files):
    bert = read_tokenizer_file(files["wordpiece"])
    ids = bert.encode("Hello again")
    assert bert.decode(ids) == "hello again"
    assert bert.decode_bytes(ids) == b" hello again"
    t5 = read_tokenizer_file(files["unigram"])
    ids = t5.encode("Hello again")
    assert t5.decode(ids) == "Hello again"
    assert t5.decode_bytes(ids) == b" Hello again"
    for tokenizer in (bert, t5):
        special = list(tokenizer.special.values())
        assert tokenizer.decode_bytes(special) == b""
        with pytest.raises(DataError, match="is not among"):
            tokenizer.decode([tokenizer.vocab_size])


def test_the_padding_and_truncation_of_the_file_are_off(files):
    bert = read_tokenizer_file(files["wordpiece"])
    short, long = bert.encode_batch(["again", "again " * 50])
    assert len(short) == 1
    assert len(long) == 50


def test_saved_and_loaded_is_the_same_and_damage_is_seen(path, tmp_path):
    tokenizer = read_tokenizer_file(path)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.special == tokenizer.special
    assert loaded.vocab_size == tokenizer.vocab_size
    np.testing.assert_array_equal(loaded.encode(TEXT), tokenizer.encode(TEXT))
    for name in ("tokenizer.json", "special.json"):
        whole = (tmp_path / name).read_bytes()
        for damaged in (b"", whole[:-1], b"{}", whole[: len(whole) // 2] + b"\xff"):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(DataError, match=r"\.json") as caught:
                load_tokenizer(tmp_path)
            assert "\n" not in str(caught.value)
        (tmp_path / name).write_bytes(whole)
    flipped = (tmp_path / "tokenizer.json").read_bytes().replace(b"again", b"agein")
    (tmp_path / "tokenizer.json").write_bytes(flipped)
    if flipped != path.read_bytes():
        with pytest.raises(DataError, match="not what was written"):
            load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is damaged"),
        (b"{}", "is not a tokenizer.json"),
        (b'{"model": 3}', "refuses it"),
        (b'{"version": "1.0", "model": {"type": "Nonsense"}}', "refuses it"),
        (b"\xff\xfe", "is damaged"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content, match):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        read_tokenizer_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="is not a file"):
        read_tokenizer_file(tmp_path / "no.json")


def test_a_run_may_name_it_and_counts_every_byte(path, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    for i in range(12):
        text = (TEXT + f"{i} </s> [MASK] \u2581 ") * 9
        (tmp_path / f"{i}.txt").write_text(text, encoding="utf-8")
    config = DataConfig(
        f"text:{tmp_path}/*.txt", str(path), seq_len=16, valid_fraction=0.3
    )
    dataset = load_language_dataset(config)
    tokenizer = read_tokenizer_file(path)
    assert dataset.tokenizer.fingerprint == tokenizer.fingerprint
    assert (dataset.sizes["vocab"], dataset.special) == expected_vocab(config)
    assert dataset.special == tokenizer.special
    for split in ("valid", "test"):
        assert dataset.count("bytes", split) == dataset.counts["bytes"][split] > 0
        rows = dataset.splits[split]["tokens"]
        num_targets = (rows != dataset.special["pad"]).sum()
        assert dataset.count("targets", split) == num_targets
    assert bool(dataset.notes) == (path.parent.name[:3] != "bpe")
    assert all("changes the text" in note for note in dataset.notes)
    folder = DataConfig(config.source, str(path.parent), seq_len=16, valid_fraction=0.3)
    assert load_language_dataset(folder).fingerprint == dataset.fingerprint


def test_labelled_texts_take_it_too(files, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    lines = [f'{{"text": "again {i}", "label": {i % 2}}}' for i in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    source, fields = f"jsonl:{tmp_path}/a.jsonl", {"text": "text"}
    bert = str(files["wordpiece"])
    config = DataConfig(source, bert, seq_len=8, fields=fields)
    dataset = load_labelled_dataset(config, {"text": "text", "label": "label"})
    rows = dataset.splits["train"]["tokens"]
    assert (rows[:, 0] == 2).all()
    assert ((rows == 3).sum(axis=1) == 1).all()
    assert (rows[:, -1] == 5).any()


def test_sizes_follow_where_tokens_end():
    np.testing.assert_array_equal(sizes_by_ends("é汉🙂a", [1, 1, 3, 4]), [2, 0, 7, 1])
    np.testing.assert_array_equal(sizes_by_ends("abc", [3, 1]), [3, 0])
    assert sizes_by_ends("", []).shape == (0,)


def test_without_the_library_one_line_names_what_to_install(files):
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from slimjax.data.tokenizer import read_tokenizer_file\n"
        "from slimjax.errors import ConfigError\n"
        "try: read_tokenizer_file(sys.argv[1])\n"
        "except ConfigError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(files["bpe"])]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"pip install 'slimjax[interop]'" in done.stdout
    assert done.stdout.count(b"\n") == 1


def make_pieces(**options):
    import sentencepiece

    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["hello world again", "the cat sat on the mat"] * 40),
        model_writer=writer,
        vocab_size=30,
        model_type="bpe",
        minloglevel=2,
        **options,
    )
    return writer.getvalue()


@pytest.mark.parametrize(
    ("options", "special"),
    [
        (dict(pad_id=-1, bos_id=-1, eos_id=1, unk_id=0), (30, 1, 1)),
        (dict(pad_id=0, bos_id=-1, eos_id=1, unk_id=2), (0, 1, 1)),
        (dict(pad_id=3, bos_id=2, eos_id=1, unk_id=0), (3, 2, 1)),
        (dict(pad_id=-1, bos_id=-1, eos_id=-1, unk_id=0), (31, 30, 30)),
    ],
)
def test_a_sentencepiece_file_may_have_any_special_ids(tmp_path, options, special):
    path = tmp_path / "spiece.model"
    path.write_bytes(make_pieces(**options))
    tokenizer = read_tokenizer_file(path)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == special
    assert tokenizer.vocab_size == max(30, *(number + 1 for number in special))
    text = "hello  cat ﬁ 汉字 mat "
    ids, sizes = tokenizer.encode_with_bytes([text])[0]
    assert not set(special) & set(ids.tolist())
    assert len(text.rstrip().encode()) <= sizes.sum() <= len(text.encode())
    assert tokenizer.decode(tokenizer.encode("the cat")) == " the cat"
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint
    assert load_tokenizer(tmp_path).special == tokenizer.special
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"spiece\.model is not a sentencepiece"):
        read_tokenizer_file(path)


def test_the_file_of_bytes_is_read_under_its_old_name_too(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"kind": "bytes", "version": 1}')
    assert load_tokenizer(tmp_path).vocab_size == 259


def test_bytes_that_a_table_lacks_are_refused_and_not_left_out(tmp_path):
    content = json.loads(make_byte_level().to_str())
    lacking = {s: f"<{b}>" for s, b in byte_alphabet().items() if b in (0x04, 0xF1)}
    vocab = content["model"]["vocab"]
    content["model"]["vocab"] = {lacking.get(k, k): i for k, i in vocab.items()}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    tokenizer = read_tokenizer_file(path)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    for text in ("a\x04b", "\U00040000"):
        with pytest.raises(DataError, match=r"1 bytes .* 0x(04|f1)"):
            tokenizer.encode_batch(["whole", text])
