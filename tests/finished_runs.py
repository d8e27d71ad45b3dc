"""Folders of finished runs that nobody trained, with drawn weights."""

import jax

from slimjax import tasks
from slimjax.data.codecs import save_codecs, sizes_of, special_of
from slimjax.data.labels import Labels
from slimjax.models.build import build_model
from slimjax.store.files import write_json
from slimjax.store.packed import write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.tasks import classification
from slimjax.train.config import make_run_config
from slimjax.train.state import init_params
from slimjax.trees import axis_names

PERCEPTRON = dict(kind="mlp", width=5, mlp="relu", dtype="float32")


def write_run(folder, run, model):
    """Writes the files of a finished run with drawn weights, but no codecs."""
    weights = jax.device_get(init_params(model, seed=7)["params"])
    names = axis_names(model.abstract_variables())["params"]
    write_packed(folder.packed, weights, names)
    write_json(folder.config, run.as_dict())
    write_json(folder.architecture, model.architecture({}))
    write_json(folder.report, {})


def make_perceptron(root, scaling, **data):
    """Writes a finished perceptron whose features are scaled like this.

    Settings of the config's block ``data`` may be given.
    """
    folder = RunFolder(root)
    folder.tokenizer.mkdir(parents=True)
    scaling.save(folder.tokenizer)
    Labels(("a", "b"), (1, 1)).save(folder.tokenizer)
    run = make_run_config(dict(task="classification", model=PERCEPTRON, data=data))
    sizes = {"features": scaling.size, "classes": 2}
    model = build_model(run.model, sizes, classification.heads(sizes))
    write_run(folder, run, model)
    return str(root)


def make_reader(root, shape, names=("cat", "dog"), model=(), **data):
    """Writes a finished model of images, a perceptron unless others are asked for.

    Args:
        root: The folder.
        shape: What images are made into.
        names: Those of classes.
        model: Settings of the model.
        data: Settings of the config's block ``data``.
    """
    folder = RunFolder(root)
    folder.tokenizer.mkdir(parents=True)
    shape.save(folder.tokenizer)
    Labels(names, (1,) * len(names)).save(folder.tokenizer)
    block = dict(model) or PERCEPTRON
    config = dict(task="image_classification", model=block, data=data)
    run, sizes = make_run_config(config), {**shape.sizes, "classes": len(names)}
    model = build_model(run.model, sizes, classification.heads(sizes))
    write_run(folder, run, model)
    return str(root)


def make_text_run(root, task, codecs, model, **data):
    """Writes a finished model of texts.

    Args:
        root: The folder.
        task: Name of what it answers.
        codecs: Its tokenizer and its classes, by field.
        model: Settings of the model.
        data: Settings of the config's block ``data``.
    """
    folder = RunFolder(root)
    folder.tokenizer.mkdir(parents=True)
    save_codecs(codecs, folder.tokenizer)
    run = make_run_config(dict(task=task, model=model, data=data))
    own, sizes = tasks.get(task).make_task(special_of(codecs)), sizes_of(codecs)
    lengths = {"": run.data.seq_len}
    write_run(folder, run, build_model(run.model, sizes, own.heads(sizes), lengths))
    return str(root)
