"""How Torch-Pruning ranks MLP units: its groups, and its importance after Taylor.

The model is written in the Hugging Face form, which `export_hf` reads again and
compares. The library finds what goes together with an output of a ``gate_proj`` (the
same of ``up_proj``, an input of ``down_proj``) and scores it, from gradients of the
loss of the rows that ours are taken of. Fang et al., "DepGraph: Towards Any Structural
Pruning", 2023; Molchanov et al., "Importance Estimation for Neural Network Pruning",
2019, equation 8. Needs torch, transformers and torch-pruning.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peers import Scores
from study import Study

from slimjax.compress.rows import Rows
from slimjax.interop.hf_export import export_hf


def taylor(study: Study) -> Scores:
    """Returns the scores of the units of all MLPs, comparable between layers."""
    import torch  # pyright: ignore
    import torch_pruning  # pyright: ignore

    sample = study.rows.at(study.rows.spread(study.flags.slope_rows))
    model = open_model(study.flags.model)
    add_gradients(model, sample)
    tokens = torch.tensor(sample.inputs["tokens"][:1, :8]).long()
    graph = torch_pruning.DependencyGraph().build_dependency(
        model,
        example_inputs=tokens,
        forward_fn=lambda network, ids: network(input_ids=ids).logits,
    )
    score, found = torch_pruning.importance.GroupTaylorImportance(), {}
    for number, layer in enumerate(model.model.layers):
        gate = layer.mlp.gate_proj
        units, prune = range(gate.out_features), torch_pruning.prune_linear_out_channels
        group = graph.get_pruning_group(gate, prune, idxs=list(units))
        check_group(group, layer.mlp)
        found[f"layer_{number}", "mlp", "mlp"] = score(group).numpy().astype(float)
    return found


def open_model(workdir: Path) -> Any:
    """Returns the model of a run folder as one of transformers, in float32."""
    import torch  # pyright: ignore
    import transformers  # pyright: ignore

    with tempfile.TemporaryDirectory() as folder:
        export_hf(workdir, Path(folder) / "model")
        model = transformers.AutoModelForCausalLM.from_pretrained(
            Path(folder) / "model", dtype=torch.float32, attn_implementation="eager"
        )
    model.config.use_cache = False
    return model.eval()


def add_gradients(model: Any, rows: Rows) -> None:
    """Adds the gradients of the mean nats of a target to those of a model's weights."""
    import torch  # pyright: ignore

    for number in range(rows.num_rows):
        tokens, targets, weights = (
            torch.tensor(np.asarray(own[number]))
            for own in (rows.inputs["tokens"], rows.targets, rows.weights)
        )
        logits = model(input_ids=tokens[None].long()).logits[0]
        nats = torch.nn.functional.cross_entropy(
            logits, targets.long(), reduction="none"
        )
        ((nats * weights).sum() / rows.num_targets).backward()


def check_group(group: Any, mlp: Any) -> None:
    """Holds that what goes together is a unit of an MLP, and nothing else."""
    layers = {dep.target.module for dep, _ in group}
    projections = {mlp.gate_proj, mlp.up_proj, mlp.down_proj}
    others = {layer for layer in layers - projections if list(layer.parameters())}
    if not projections <= layers or others:
        raise SystemExit(f"Torch-Pruning groups other layers with an MLP: {layers}")
