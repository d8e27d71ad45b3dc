"""What it takes to try a recipe: examples of its task, and folders to start from."""

import dataclasses
import json
from pathlib import Path

from slimjax import tasks
from slimjax.data.tokenizer import BytesTokenizer
from slimjax.run.blueprints import expected_outline, make_blueprint
from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig

WORDS = ["a red fox", "one", "the old grey dog barks", "two small birds sing here"]
NAMES = [("Rome", "LOC"), ("Ada", "PER"), ("Acme", "ORG")]

OF_IMAGES = {"caption", "image_classification", "image_question", "image_translation"}
LABELLED = [name for name in tasks.names() if hasattr(tasks.get(name), "schema")]
OF_TEXTS = [name for name in LABELLED if name not in OF_IMAGES]
"""Tasks that read examples of texts."""


def make_example(task: str, i: int) -> dict:
    """Returns an example of a task, short or longer."""
    text = f"{WORDS[i % 4]} {i}"
    name, kind = NAMES[i % 3]
    answer = {"text": [name], "answer_start": [len(text) + 1]}
    return {
        "classification": {"text": text, "label": "ab"[i % 2]},
        "regression": {"text": text, "value": i / 7},
        "relation": {"text": text, "spans": [[0, 1], [1, 3]], "label": "ab"[i % 2]},
        "tagging": {
            "tokens": [*text.split(), name],
            "tags": ["O"] * len(text.split()) + [f"B-{kind}"],
        },
        "span_qa": {"question": kind, "context": f"{text} {name}", "answers": answer},
        "ranking": {"text": text, "text_pair": f"{name} {i}"},
        "seq2seq": {"source": text, "target": f"{name} {text}"},
        "chat": {
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": name},
            ]
        },
        "extractive": {"sentences": [text, f"{name}."], "labels": [i % 2, 1]},
    }[task]


def write_examples(path: Path, task: str, start: int = 0, number: int = 80) -> str:
    """Writes examples of a task, and returns their source."""
    lines = [json.dumps(make_example(task, start + i)) for i in range(number)]
    path.write_text("\n".join(lines))
    return f"jsonl:{path}"


def write_start(root: Path, run: RunConfig) -> None:
    """Writes what a run reads, before any weights, of the folder that it starts from.

    The folder is that of `run`, with bytes as tokens.
    """
    folder, tokenizer = RunFolder(root), BytesTokenizer()
    folder.tokenizer.mkdir(parents=True)
    tokenizer.save(folder.tokenizer)
    data = dataclasses.replace(run.data, tokenizer="bytes")
    run = dataclasses.replace(run, data=data)
    outline = expected_outline(run)
    assert outline is not None, run.task
    write_json(folder.config, run.as_dict())
    model = make_blueprint(run, outline).model
    write_json(folder.architecture, model.architecture({}))
