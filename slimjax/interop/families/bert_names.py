"""Names of settings and tensors in BERT, DistilBERT and RoBERTa."""

from collections.abc import Mapping

OF_DISTILBERT = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
}
"""DistilBERT's names of settings, by those of BERT."""

Names = Mapping[str, str]
BERT: Names = {
    "layer": "encoder.layer.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "mlp_norm": "output.LayerNorm",
}
DISTILBERT: Names = {
    "layer": "transformer.layer.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "out": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "mlp_norm": "output_layer_norm",
}
HEADS: Mapping[str, Names] = {
    "bert": {
        "transform": "cls.predictions.transform.dense",
        "transform_norm": "cls.predictions.transform.LayerNorm",
        "token_bias": "cls.predictions.bias",
        "pooler": "pooler.dense",
        "table": "classifier",
    },
    "roberta": {
        "transform": "lm_head.dense",
        "transform_norm": "lm_head.layer_norm",
        "token_bias": "lm_head.bias",
        "pooler": "classifier.dense",
        "table": "classifier.out_proj",
    },
    "distilbert": {
        "transform": "vocab_transform",
        "transform_norm": "vocab_layer_norm",
        "token_bias": "vocab_projector.bias",
        "pooler": "pre_classifier",
        "table": "classifier",
    },
}
