"""A study whose original has fewer rows of the vocabulary, the same for all arms."""

import dataclasses

from study import Study

from slimjax.compress.row_cut import cut_rows, reencode_calibration, reencode_text
from slimjax.compress.vocabulary import rank_rows
from slimjax.data.reencoding import Reencoder
from slimjax.data.vocabulary import cut_tokenizer


def narrow(study: Study, num_kept: int) -> Study:
    """Returns the study of a model with so many rows, those that our prices keep.

    Texts are encoded anew; errors stay per target of the original.

    Args:
        study: That of the whole model.
        num_kept: Rows that stay; 0 for all.
    """
    if not num_kept:
        return study
    study.original()  # Errors of the whole model, before there is none.
    tokenizer, order, _ = rank_rows(study.settings, study.moments())
    num_gone = tokenizer.vocab_size - num_kept
    if not 0 < num_gone <= len(order.ids):
        raise SystemExit(f"--kept_rows={num_kept}: {len(order.ids)} rows may go")
    kept = order.kept(num_gone, tokenizer.vocab_size)
    encoder = Reencoder(tokenizer, cut_tokenizer(tokenizer, kept), kept)
    whole, most = cut_rows(study.whole, kept), study.whole.model.main.num_positions
    texts = {n: reencode_text(text, encoder, most) for n, text in study.texts.items()}
    rows = reencode_calibration(study.rows, encoder)
    return dataclasses.replace(study, whole=whole, rows=rows, texts=texts, kept=kept)
