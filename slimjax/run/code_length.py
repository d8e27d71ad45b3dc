"""The description length of the training text: the model, then the text given it.

    L(M) + L(D | M)

in bits: the packed model file and the tokenizer file, and the code length of all
training rows under the model. It is a crude two-part code: the finished model is sent
first, and the text with it. The decoding program is not counted, neither here
nor to the compressors it stands beside.

Both parts have weight 1, whatever steered the run: optimisation goes on in nats a
target with beta = 1, and ``alpha`` is a price for the whole starting model. The same
price in these units, bits of text for one bit of the model file, is

    alpha * (number of training targets) / (ln 2 * bits of the starting model)

so that a run whose price reads 1 here has minimised this very sum.

References:
    Rissanen, "Modeling by shortest data description", Automatica 14, 1978.
    Grünwald, "A tutorial introduction to the minimum description length principle",
    2004, section 1.3 (two-part codes).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.data.batches import Batch, iterate_rows
from slimjax.data.compressed import compress_train_text
from slimjax.data.dataset import Dataset
from slimjax.data.rows import Rows
from slimjax.nn.axes import to_host
from slimjax.store.run_folder import RunFolder
from slimjax.text.compressors import NO_ZSTD
from slimjax.train.history import History
from slimjax.train.stage import Stage

MAX_TOKENS = 1 << 19
"""Training targets up to which all of them are coded; else as many are drawn."""


@dataclasses.dataclass(frozen=True)
class CodeLength:
    """The length of rows under a model.

    Attributes:
        bits: Of all rows; extrapolated, where only some were measured.
        standard_error: Of `bits`; 0 where all rows were measured.
        rows_measured: Number of rows measured.
    """

    bits: float
    standard_error: float
    rows_measured: int


def measure_code_length(
    nats_of: Callable[[Batch], float],
    rows: Rows,
    batch_size: int,
    seed: int,
    max_tokens: int = MAX_TOKENS,
    *,
    pad_id: int,
) -> CodeLength:
    """Returns the code length of rows without padding, of all or of a random sample.

    A sample is drawn without replacement, in K whole batches of B rows out of R; the
    error of its mean is that of K draws, times ``sqrt(1 - K B / R)``.

    Args:
        nats_of: Returns the summed nats of a batch.
        rows: What to code.
        batch_size: B.
        seed: Decides on the sample.
        max_tokens: Targets up to which all rows are measured.
        pad_id: Fills the last batch up; no target.
    """
    num_batches = max(max_tokens // rows.shape[1] // batch_size, 2)
    taken = num_batches * batch_size
    if taken >= len(rows):
        batches = iterate_rows(rows, batch_size, pad_id=pad_id)
        nats = sum(nats_of(batch) for batch in batches)
        return CodeLength(nats / math.log(2), 0.0, len(rows))
    chosen = np.random.default_rng(seed).permutation(len(rows))[:taken]
    batches = iterate_rows(rows[chosen], batch_size, pad_id=pad_id)
    bits = np.array([nats_of(batch) for batch in batches]) / math.log(2)
    all_batches, unseen = len(rows) / batch_size, 1 - taken / len(rows)
    error = all_batches * bits.std(ddof=1) / num_batches**0.5 * unseen**0.5
    return CodeLength(float(all_batches * bits.mean()), float(error), taken)


def describe_length(
    stage: Stage,
    variables: PyTree,
    data: Dataset,
    history: History,
    folder: RunFolder,
    packed_bytes: int,
) -> dict[str, Any]:
    """Returns ``description_length`` of the report, in bits.

    Args:
        stage: The last one.
        variables: The finished model, as it is stored.
        data: What it has learned from.
        history: Knows the price at the last seam.
        folder: Has the tokenizer's file.
        packed_bytes: Size of the model file.
    """
    variables = stage.unrounded(variables)

    def nats_of(batch: Batch) -> float:
        rows = stage.programs.outputs(variables, stage.put(batch))
        return float(np.sum(to_host(rows)["nats"], dtype=np.float64))

    run, rows = stage.blueprint.run, data.splits["train"]["tokens"]
    text = measure_code_length(
        nats_of, rows, run.data.batch_size, run.seed, pad_id=data.special["pad"]
    )
    sizes = compress_train_text(data)
    model_bits = 8 * packed_bytes
    tokenizer_bits = 8 * sum(f.stat().st_size for f in folder.tokenizer.iterdir())
    alpha = history.prices(run.objective.main_measure).get("bytes")
    start_bits = 8 * stage.blueprint.start_sizes["bytes"]
    nats_to_price = rows.size / math.log(2) / start_bits
    return {
        "model_bits": model_bits,
        "tokenizer_bits": tokenizer_bits,
        "data_bits": text.bits,
        "total_bits": model_bits + tokenizer_bits + text.bits,
        "xz_bits": 8 * sizes.xz,
        "zstd_bits": None if sizes.zstd is None else 8 * sizes.zstd,
        "zstd_missing": NO_ZSTD if sizes.zstd is None else None,
        "bytes_raw": sizes.raw,
        "data_bits_from": "a sample" if text.standard_error else "all rows",
        "data_bits_standard_error": text.standard_error,
        "rows": len(rows),
        "rows_measured": text.rows_measured,
        "alpha_bits_per_bit": None if alpha is None else alpha * nats_to_price,
    }
