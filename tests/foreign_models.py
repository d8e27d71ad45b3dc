"""Small random models of other software, with tokenizers, in folders."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "def add(a, b):\n    return a + b  # 123 456",
    "All that glitters is not gold; often have you heard that told.",
] * 8


def byte_level(vocab_size=300, specials=("<|endoftext|>",)):
    """Returns a byte-level BPE, like those of GPT-2 and Llama 3."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def word_piece(vocab_size=120):
    """Returns a WordPiece tokenizer, like that of BERT."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=specials, show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def roberta(vocab_size=300):
    """Returns a byte-level BPE with RoBERTa's special tokens."""
    made = byte_level(vocab_size, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def unigram(vocab_size=90):
    """Returns a Unigram tokenizer, like that of T5."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return made


TOKENIZERS = {
    "bert": word_piece,
    "distilbert": word_piece,
    "roberta": roberta,
    "t5": unigram,
}


def save_tokenizer(folder: Path, kind: str) -> int:
    """Writes the tokenizer of a kind of model; returns its size."""
    made = TOKENIZERS.get(kind, byte_level)()
    made.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "<|endoftext|>"} if kind not in TOKENIZERS else {}
    if kind == "t5":
        names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config = json.dumps({"model_max_length": 64, **names})
    (folder / "tokenizer_config.json").write_text(config)
    return made.get_vocab_size()


LLAMA = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=48,
    rms_norm_eps=1e-5,
    pad_token_id=None,
    bos_token_id=0,
    eos_token_id=0,
)
LLAMA3 = dict(
    rope_theta=500.0,
    rope_type="llama3",
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
LINEAR = dict(rope_theta=300.0, rope_type="linear", factor=2.5)
ENCODER = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=40,
)
DISTILBERT = dict(dim=24, hidden_dim=40, n_layers=2, n_heads=3)
T5 = dict(
    d_model=24,
    d_kv=5,
    d_ff=40,
    num_layers=2,
    num_decoder_layers=3,
    num_heads=4,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
    decoder_start_token_id=0,
)

MODELS = {
    "llama": ("LlamaForCausalLM", LLAMA),
    "llama-tied": (
        "LlamaForCausalLM",
        LLAMA | dict(tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    ),
    "llama-linear": ("LlamaForCausalLM", LLAMA | dict(rope_parameters=LINEAR)),
    "llama-llama3": ("LlamaForCausalLM", LLAMA | dict(rope_parameters=LLAMA3)),
    "mistral": ("MistralForCausalLM", LLAMA | dict(sliding_window=7)),
    "qwen2": ("Qwen2ForCausalLM", LLAMA | dict(tie_word_embeddings=True)),
    "gpt2": (
        "GPT2LMHeadModel",
        dict(n_embd=24, n_layer=3, n_head=4, n_positions=48, n_inner=40)
        | dict(bos_token_id=0, eos_token_id=0),
    ),
    "bert-mlm": ("BertForMaskedLM", ENCODER),
    "bert": ("BertModel", ENCODER),
    "bert-classes": ("BertForSequenceClassification", ENCODER | dict(num_labels=5)),
    "bert-tags": (
        "BertForTokenClassification",
        ENCODER
        | dict(id2label={0: "B-PER", 1: "O", 2: "I-LOC", 3: "I-PER", 4: "B-LOC"}),
    ),
    "distilbert-tags": (
        "DistilBertForTokenClassification",
        DISTILBERT | dict(num_labels=3),
    ),
    "distilbert-mlm": ("DistilBertForMaskedLM", DISTILBERT),
    "distilbert-classes": (
        "DistilBertForSequenceClassification",
        DISTILBERT | dict(num_labels=3),
    ),
    "roberta-mlm": ("RobertaForMaskedLM", ENCODER | dict(type_vocab_size=1)),
    "roberta-classes": (
        "RobertaForSequenceClassification",
        ENCODER | dict(type_vocab_size=1, num_labels=3),
    ),
    "t5": ("T5ForConditionalGeneration", T5),
    "t5-gated": (
        "T5ForConditionalGeneration",
        T5 | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    ),
}
"""Classes of transformers and their settings, by names."""


def make_model(name: str, seed: int = 0):
    """Returns a random model of transformers, in float32."""
    import torch
    import transformers

    kind, settings = MODELS[name]
    cls = getattr(transformers, kind)
    family = name.split("-")[0]
    size = TOKENIZERS.get(family, byte_level)().get_vocab_size()
    own = {"attn_implementation": "eager"}
    if family in ("bert", "distilbert"):
        own["pad_token_id"] = 0
    if family == "roberta":
        own |= dict(pad_token_id=1, bos_token_id=0, eos_token_id=2)
    torch.manual_seed(seed)
    model = cls(cls.config_class(vocab_size=size + 5, **settings, **own)).eval()
    with torch.no_grad():  # Norms and biases are not all alike.
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def save_model(folder: Path, name: str, seed: int = 0, **options):
    """Writes a random model and its tokenizer into a folder; returns the model."""
    model = make_model(name, seed)
    model.save_pretrained(folder, **options)
    save_tokenizer(folder, name.split("-")[0])
    return model
