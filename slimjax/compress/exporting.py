"""Export as a GGUF file whose rounding is calibrated on text, measured on text."""

import dataclasses
from pathlib import Path as FilePath
from typing import Any

from slimjax.compress.config import Request
from slimjax.compress.errors import measure
from slimjax.compress.moments import Report, collect_inputs, spread
from slimjax.compress.settings import read_settings
from slimjax.compress.texts import read_texts
from slimjax.compress.walk import Walk
from slimjax.interop.gguf_export import export_gguf
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.hf_export import variables_of
from slimjax.interop.importing import understand


def export_calibrated(
    workdir: str,
    output: FilePath,
    data: str,
    *,
    kind: str = "F16",
    num_rows: int = 240,
    report: Report = lambda *_: None,
) -> dict[str, Any]:
    """Writes a GGUF file whose matrices are rounded by second order.

    Args:
        workdir: The run folder.
        output: The file.
        data: Text: its training split is calibrated on, its validation split measured.
        kind: Type of its matrices.
        num_rows: Most rows that are calibrated on.
        report: Called while it goes on.

    Returns:
        What `export_gguf` returns, and ``perplexity``, ``before`` and ``after``.

    Raises:
        SlimjaxError: For a mistake of the user; nothing is left behind.
    """
    request = Request(
        model=workdir,
        data=data,
        workdir=str(output),
        budgets=("100%",),
        size="params",
        num_rows=num_rows,
    )
    settings = read_settings(request)
    texts = read_texts(request, settings)
    rows, held_out = texts[""].rows, texts[data]
    model = settings.model
    plain = dataclasses.replace(model.config, dtype="float32")
    found = collect_inputs(Walk(plain), model.params, rows, report)
    before = measure(plain, model.params, *held_out)
    codecs = model.codecs
    del settings, model  # The export reads it again.
    result = export_gguf(workdir, output, kind=kind, moments=spread(found))
    again = understand(read_gguf(output), str(output), codecs["tokens"])
    shape = dataclasses.replace(again.model, dtype="float32")
    after = measure(shape, variables_of(again), *held_out)
    perplexity = {"before": before.perplexity, "after": after.perplexity}
    return result | {"perplexity": perplexity}
