"""The same encoder in transformers, as a good user of it would run it on a CPU.

BertModel without a pooler and a linear layer on [CLS], attention by SDPA, fused AdamW;
texts go through the library's own pipeline.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, logging
from transformers import pipeline as make_transformers_pipeline
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertPreTrainedModel

IDS = dict(pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]")


class Classifier(BertPreTrainedModel):
    """BERT and a linear layer on the first position."""

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """Returns the logits."""
        states = self.bert(input_ids, attention_mask, token_type_ids)
        return SequenceClassifierOutput(
            logits=self.classifier(states.last_hidden_state[:, 0])
        )


def make_model(folder):
    """Returns the model with the weights of the folder."""
    weights = dict(np.load(Path(folder) / "weights.npz"))
    tables = "bert.embeddings.{}_embeddings.weight".format
    config = BertConfig(
        vocab_size=len(weights[tables("word")]),
        hidden_size=weights[tables("word")].shape[1],
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=len(weights["bert.encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(weights[tables("position")]),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    model = Classifier(config)
    tensors = {name: torch.from_numpy(w) for name, w in weights.items()}
    missing, unknown = model.load_state_dict(tensors, strict=False)
    assert not unknown, unknown
    assert all("position_ids" in name for name in missing), missing
    return model


def make_step(folder, batch, *, compiled, bfloat16):
    """Returns a function that takes one fine-tuning step, and returns its loss."""
    torch.manual_seed(0)
    model = make_model(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    tokens = torch.from_numpy(batch["tokens"]).long()
    labels = torch.from_numpy(batch["label"]).long()

    def error(tokens):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(tokens).logits
        return F.cross_entropy(logits.float(), labels)

    error = torch.compile(error) if compiled else error

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = error(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def make_pipeline(folder, texts, length, batch_size, *, compiled, is_sorted):
    """Returns a function that classifies all texts, and returns their scores."""
    names = {f"{name}_token": token for name, token in IDS.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(Path(folder) / "tokenizer.json"),
        model_max_length=length,
        **names,
    )
    model = make_model(folder).eval()
    if compiled:
        model.forward = torch.compile(model.forward, dynamic=True)
    logging.set_verbosity_error()  # It does not know the class, and needs not to.
    run = make_transformers_pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device="cpu"
    )
    order = np.argsort([len(text) for text in texts]) if is_sorted else None
    given = texts if order is None else [texts[i] for i in order]

    @torch.inference_mode()
    def predict():
        options = dict(batch_size=batch_size, truncation=True, top_k=None)
        found = [
            next(x["score"] for x in each if x["label"] == "LABEL_1")
            for each in run(given, **options)
        ]
        if order is None:
            return found
        scores = np.empty(len(found))
        scores[order] = found
        return scores.tolist()

    return predict
