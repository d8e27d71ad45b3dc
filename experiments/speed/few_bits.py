"""What frozen weights cost in perplexity: bfloat16 and int8 against float32.

Run: python experiments/speed/few_bits.py --workdir=runs/demo [--rows=64] [--json]

A finished run is opened as `slimjax generate` opens it, and reads rows of its own
validation text; each format of weights scores the same tokens, in products as they are
when text is made. The ratio is that of perplexities.
"""

from pathlib import Path
from typing import Any

from paired import make_parser, write

from slimjax.train.devices import prepare_devices

ROWS_TOGETHER = 8


def main() -> None:
    parser = make_parser("Perplexity of frozen weights", rounds=1)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=64)
    flags = parser.parse_args()
    prepare_devices()
    result = measure(flags.workdir, flags.rows)
    write("few_bits", result, as_json=flags.json)


def measure(workdir: Path, num_rows: int) -> dict[str, Any]:
    """Returns nats per token of each format, and perplexities over that of float32."""
    import numpy as np

    from slimjax.config import build
    from slimjax.data.config import DataConfig
    from slimjax.generate.model import load
    from slimjax.nn.frozen import FORMATS
    from slimjax.store.files import read_json
    from slimjax.store.run_folder import RunFolder
    from slimjax.tasks.lm import load as load_rows

    model = load(workdir)
    config = read_json(RunFolder(workdir).config)
    data = build(DataConfig, config["data"], "config.data")
    dataset = load_rows(data, codecs={"tokens": model.tokenizer})
    rows = np.asarray(dataset.splits["valid"]["tokens"][:num_rows])
    special = model.tokenizer.bos_id, model.tokenizer.pad_id
    nats = {name: nats_of(model.freeze(name), rows, *special) for name in FORMATS}
    result: dict[str, Any] = {"tokens": int(rows.size), "nats_per_token": nats}
    for name in FORMATS[1:]:
        ratio = float(np.exp(nats[name] - nats["float32"]))
        result[name] = {"perplexity_ratio": ratio}
    return result


def nats_of(decoder: Any, rows: Any, bos_id: int, pad_id: int) -> float:
    """Returns the mean nats of the tokens of rows [R T] that are no padding."""
    import jax
    import jax.numpy as jnp

    from slimjax.tasks.lm import shift_right

    @jax.jit
    def score(decoder, tokens, cache):
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        x, _ = decoder(shift_right(tokens, bos_id), positions, cache)
        logs = jax.nn.log_softmax(decoder.logits(x))
        nats = -jnp.take_along_axis(logs, tokens[..., None], -1)[..., 0]
        counts = tokens != pad_id
        return jnp.sum(nats * counts), jnp.sum(counts)

    sums = []
    for first in range(0, len(rows) // ROWS_TOGETHER * ROWS_TOGETHER, ROWS_TOGETHER):
        tokens = jnp.asarray(rows[first : first + ROWS_TOGETHER], jnp.int32)
        cache = decoder.make_cache(len(tokens), tokens.shape[1])
        sums.append(score(decoder, tokens, cache))
    total, count = (float(sum(part)) for part in zip(*sums, strict=True))
    return total / count


if __name__ == "__main__":
    main()
