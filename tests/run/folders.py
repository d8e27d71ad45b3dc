"""Run folders that are written in an instant, for runs that start from them."""

from finished_runs import write_run

from slimjax.data.labels import Labels
from slimjax.data.tokenizer import BytesTokenizer
from slimjax.models.build import build_model
from slimjax.store.run_folder import RunFolder
from slimjax.tasks import classification, lm
from slimjax.train.config import make_run_config

SHAPE = dict(width=12, num_layers=2, num_heads=3, num_kv_heads=3, head_dim=4)
SHAPE |= dict(mlp_dim=20, style="gpt2", tied=False, dtype="float32")
SLIM = [
    {"width": 10, "num_heads": 2, "num_kv_heads": 2, "head_dim": 4, "mlp_dim": 7},
    {"width": 10, "num_heads": 3, "num_kv_heads": 3, "head_dim": 4, "mlp_dim": 0},
]
SLIM = [{**layer, "attention": True, "mlp": layer["mlp_dim"] > 0} for layer in SLIM]


def make_folder(root, task="lm", names=(), layers=SLIM):
    """Writes a finished run, which nobody trained; returns its folder's path."""
    folder, tokenizer = RunFolder(root), BytesTokenizer()
    folder.tokenizer.mkdir(parents=True)
    tokenizer.save(folder.tokenizer)
    sizes = {"vocab": tokenizer.vocab_size, "classes": len(names)}
    if names:
        Labels(names, [1] * len(names)).save(folder.tokenizer)
    config = dict(task=task, model=SHAPE, data=dict(tokenizer="bytes", seq_len=24))
    run = make_run_config(config)
    heads = {"lm": lm, "classification": classification}[task].heads(sizes)
    model = build_model(run.model, sizes, heads, {"": 24})
    model = model.with_architecture(layers, "here")
    write_run(folder, run, model)
    return str(root)
