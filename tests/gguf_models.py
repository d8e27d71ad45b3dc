"""Small GGUF files with random numbers, written by the gguf library itself."""

import functools
import io
from pathlib import Path

import gguf
import numpy as np

from slimjax.interop.gguf_writing import add_setting

TEXT = (
    "In the beginning there was a model of many layers, and it was slow. "
    "Don't we'll 12,345 times  double  spaces.\n\n\tdef f(x): return x**2  # 汉字 é\n"
)
VOCAB = 300


def numbers(shape: tuple[int, ...], seed: int, scale: float = 0.3) -> np.ndarray:
    """Returns random numbers, float32."""
    random = np.random.default_rng(seed)
    return (scale * random.standard_normal(shape)).astype(np.float32)


def llama_tensors(layers, width, head_dim, vocab, *, tied=True, biases=False):
    """Returns arrays by GGUF name; layers are (heads, kv_heads, mlp), 0 for none."""
    shapes = {"token_embd.weight": (vocab, width), "output_norm.weight": (width,)}
    if not tied:
        shapes["output.weight"] = (vocab, width)
    for i, (heads, kv_heads, mlp) in enumerate(layers):
        q, kv = heads * head_dim, kv_heads * head_dim
        if heads:
            shapes |= {
                f"blk.{i}.attn_norm.weight": (width,),
                f"blk.{i}.attn_q.weight": (q, width),
                f"blk.{i}.attn_k.weight": (kv, width),
                f"blk.{i}.attn_v.weight": (kv, width),
                f"blk.{i}.attn_output.weight": (width, q),
            }
        if heads and biases:
            shapes |= {f"blk.{i}.attn_q.bias": (q,), f"blk.{i}.attn_k.bias": (kv,)}
            shapes[f"blk.{i}.attn_v.bias"] = (kv,)
        if mlp:
            shapes |= {
                f"blk.{i}.ffn_norm.weight": (width,),
                f"blk.{i}.ffn_gate.weight": (mlp, width),
                f"blk.{i}.ffn_up.weight": (mlp, width),
                f"blk.{i}.ffn_down.weight": (width, mlp),
            }
    return fill(shapes)


def fill(shapes):
    """Returns random arrays; norms are around 1."""
    arrays = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        arrays[name] = numbers(shape, seed)
        if "norm.weight" in name:
            arrays[name] = 1 + arrays[name]
    return arrays


def write_gguf(path, arch, settings, tensors, kind="F32", tokenizer=None):
    """Writes a file; matrices have the type `kind`, vectors are float32."""
    writer = gguf.GGUFWriter(path, arch)
    for key, value in settings.items():
        full = key if key.startswith(("general.", "split.")) else f"{arch}.{key}"
        add_setting(writer, full, value)
    for key, value in (tokenizer or {}).items():
        add_setting(writer, f"tokenizer.{key}", value)
    for name, array in tensors.items():
        type_ = gguf.GGMLQuantizationType[kind if array.ndim > 1 else "F32"]
        data = gguf.quants.quantize(np.ascontiguousarray(array), type_)
        writer.add_tensor(name, data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def llama_settings(layers, width, head_dim, *, ragged=False, **more):
    """Returns the settings of a Llama, lists where layers may differ."""
    heads, kv_heads, mlp = map(list, zip(*layers, strict=True))
    pick = (lambda x: x) if ragged else (lambda x: x[0])
    settings = {
        "block_count": len(layers),
        "context_length": 128,
        "embedding_length": width,
        "feed_forward_length": pick(mlp),
        "attention.head_count": pick(heads),
        "attention.head_count_kv": pick(kv_heads),
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10_000.0,
        "rope.dimension_count": head_dim,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
    }
    return settings | {key.replace("__", "."): value for key, value in more.items()}


def llama_file(
    path,
    layers=((4, 2, 64), (4, 2, 64)),
    *,
    arch="llama",
    width=32,
    head_dim=8,
    vocab=VOCAB,
    tied=True,
    biases=False,
    kind="F32",
    tokenizer=None,
    extra=None,
    **more,
):
    """Writes a Llama, Qwen2 (with biases) or deci (ragged) file."""
    tensors = llama_tensors(layers, width, head_dim, vocab, tied=tied, biases=biases)
    settings = llama_settings(layers, width, head_dim, ragged=arch == "deci", **more)
    tokenizer = tokenizer or {"ggml.model": "none"}
    if tokenizer == {"ggml.model": "none"}:
        settings.setdefault("vocab_size", vocab)
    everything = tensors | (extra or {})
    return write_gguf(path, arch, settings, everything, kind, tokenizer)


def gpt2_file(path, *, width=32, heads=4, layers=2, vocab=VOCAB, length=64, kind="F32"):
    """Writes a GPT-2."""
    hidden = 4 * width
    shapes = {
        "token_embd.weight": (vocab, width),
        "position_embd.weight": (length, width),
    }
    shapes |= {"output_norm.weight": (width,), "output_norm.bias": (width,)}
    for i in range(layers):
        kernels = dict(attn_norm=(width,), ffn_norm=(width,))
        kernels |= dict(attn_qkv=(3 * width, width), attn_output=(width, width))
        kernels |= dict(ffn_up=(hidden, width), ffn_down=(width, hidden))
        for name, shape in kernels.items():
            shapes[f"blk.{i}.{name}.weight"] = shape
            shapes[f"blk.{i}.{name}.bias"] = shape[:1]
    settings = {
        "block_count": layers,
        "context_length": length,
        "embedding_length": width,
        "feed_forward_length": hidden,
        "attention.head_count": heads,
        "attention.layer_norm_epsilon": 1e-5,
    }
    tokenizer = byte_level_settings("gpt-2", vocab)
    return write_gguf(path, "gpt2", settings, fill(shapes), kind, tokenizer)


def bert_file(
    path,
    *,
    width=32,
    layers=2,
    vocab=VOCAB,
    tokenizer=None,
    pooling=1,
    types=2,
    kind="F32",
):
    """Writes a BERT; without a table of types where there are 0."""
    shapes = {"token_embd.weight": (vocab, width), "position_embd.weight": (64, width)}
    shapes |= {"token_types.weight": (types, width)} if types else {}
    kernels = {"token_embd_norm": (width,)}
    for i in range(layers):
        here = f"blk.{i}."
        kernels |= {
            f"{here}attn_{x}": (width, width) for x in ("q", "k", "v", "output")
        }
        kernels |= {f"{here}ffn_up": (64, width), f"{here}ffn_down": (width, 64)}
        kernels |= {f"{here}attn_output_norm": (width,)}
        kernels |= {f"{here}layer_output_norm": (width,)}
    for name, shape in kernels.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    settings = {
        "block_count": layers,
        "context_length": 64,
        "embedding_length": width,
        "feed_forward_length": 64,
        "attention.head_count": 4,
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": pooling,
    }
    tokenizer = tokenizer or word_piece_settings(vocab)
    return write_gguf(path, "bert", settings, fill(shapes), kind, tokenizer)


@functools.cache
def trained(kind: str, vocab: int):
    """Returns a tokenizer of the tokenizers library, trained on `TEXT`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if kind == "word_piece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab, special_tokens=names, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab - 2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    return tokenizer


def byte_level_settings(pre: str, vocab: int = VOCAB, **more):
    """Returns the settings of a byte-level tokenizer with two special tokens."""
    import json

    model = json.loads(trained("byte_level", vocab).to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    fill_up = [f"[PAD{i}]" for i in range(len(pieces), vocab - 2)]
    tokens = [*pieces, *fill_up, "<|begin|>", "<|end|>"]
    kinds = [1] * len(pieces) + [5] * len(fill_up) + [3, 3]
    return {
        "ggml.model": "gpt2",
        "ggml.pre": pre,
        "ggml.tokens": tokens,
        "ggml.token_type": kinds,
        "ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "ggml.bos_token_id": vocab - 2,
        "ggml.eos_token_id": vocab - 1,
        "ggml.add_bos_token": False,
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    } | more


@functools.cache
def _pieces(vocab: int):
    import sentencepiece as spm

    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n") * 20),
        model_writer=model,
        vocab_size=vocab,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return spm.SentencePieceProcessor(model_proto=model.getvalue())


def sentence_piece_settings(vocab: int = 400, **more):
    """Returns the settings of a SentencePiece BPE with bytes."""
    model = _pieces(vocab)
    ids = range(model.get_piece_size())
    kind = lambda i: (
        2
        if model.is_unknown(i)
        else 3
        if model.is_control(i)
        else 6
        if model.is_byte(i)
        else 1
    )
    return {
        "ggml.model": "llama",
        "ggml.pre": "default",
        "ggml.tokens": [model.id_to_piece(i) for i in ids],
        "ggml.scores": [float(model.get_score(i)) for i in ids],
        "ggml.token_type": [kind(i) for i in ids],
        "ggml.bos_token_id": model.bos_id(),
        "ggml.eos_token_id": model.eos_id(),
        "ggml.unknown_token_id": model.unk_id(),
        "ggml.add_bos_token": True,
    } | more


def word_piece_settings(vocab: int = VOCAB, **more):
    """Returns the settings of a WordPiece, words marked as GGUF files do."""
    known = trained("word_piece", vocab).get_vocab()
    words = sorted(known, key=known.get)
    mark = lambda word: word[2:] if word.startswith("##") else "\u2581" + word
    tokens = [
        word if word.startswith("[") and len(word) > 1 else mark(word) for word in words
    ]
    fill_up = [f"\u2581[unused{i}]" for i in range(len(tokens), vocab)]
    return {
        "ggml.model": "bert",
        "ggml.pre": "default",
        "ggml.tokens": [*tokens, *fill_up],
        "ggml.token_type": [
            3 if t.startswith("[") and len(t) > 1 else 1 for t in (*tokens, *fill_up)
        ],
        "ggml.token_type_count": 2,
        "ggml.padding_token_id": 0,
        "ggml.unknown_token_id": 1,
        "ggml.cls_token_id": 2,
        "ggml.bos_token_id": 2,
        "ggml.seperator_token_id": 3,
        "ggml.mask_token_id": 4,
    } | more
