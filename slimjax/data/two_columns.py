"""Two texts as rows of their own, such as a question and what answers it."""

import numpy as np

from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.material import Material
from slimjax.data.text_columns import prepare_text, prepare_tokens
from slimjax.text.examples import Example

TEXT, PARTNER = "text", "text_pair"
PARTNER_TOKENS = "pair_tokens"
"""Name of the field of the second text, int32 ``[T]``."""


def prepare_two(material: Material) -> list[Prepared]:
    """Returns the column of one text, or of two where there is a second."""
    config, tokenizer = material.config, material.tokenizer(TEXT, PARTNER)
    names = [name for name in (TEXT, PARTNER) if name in material.kinds]
    columns = [prepare_text(name, tokenizer, config) for name in names]
    if len(columns) == 1:
        return columns

    def encode(examples: list[Example]) -> Encoded:
        one, other = (column.encode(examples) for column in columns)
        is_cut = np.zeros(len(examples), bool)
        for part in (one, other):
            is_cut |= False if part.is_cut is None else part.is_cut
        tokens = one.counts["tokens"] + other.counts["tokens"]
        arrays = {**one.arrays, PARTNER_TOKENS: other.arrays["tokens"]}
        counts = {"tokens": tokens, "cut": int(is_cut.sum())}
        return Encoded(arrays, counts, is_cut=is_cut)

    field = Field((config.seq_len,), "int32", ("positions",), fill=tokenizer.pad_id)
    fields = {PARTNER_TOKENS: field}
    return [prepare_tokens(tokenizer, config, encode, "two", fields=fields)]
