"""What runs of the first version left is read as if this version had written it."""

import pytest
from stages import make_stage

from slimjax.errors import CheckpointError
from slimjax.models.paths import layer_name
from slimjax.run import older
from slimjax.store.checkpoint import Checkpoints
from slimjax.trees import hash_tree, named_leaves

ALIGNED = ("distill.teacher", "start"), ("distill.hidden_weight", "0.1")


@pytest.mark.slow
def test_maps_that_were_called_like_layers_are_found(tmp_path):
    stage = make_stage(*ALIGNED, ("model.num_layers", "12"))
    state, checkpoints = stage.fresh(), Checkpoints(tmp_path)
    old = older._rename_maps(state, layer_name)
    assert sum(".align.layer_11.map" in name for name in named_leaves(old)) == 3
    save = lambda own, step: checkpoints.save(own, {"history": {}}, step, 0)
    names = [save(old, 1), save(state, 2)]
    checkpoints.wait()
    for name in names:
        found = older.restore_state(checkpoints, name, stage.abstract_checkpoint)
        assert hash_tree(found) == hash_tree(state)
    other = make_stage(*ALIGNED, ("model.num_layers", "11"))
    with pytest.raises(CheckpointError, match="holds another model"):
        older.restore_state(checkpoints, names[0], other.abstract_checkpoint)
