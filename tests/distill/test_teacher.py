"""A teacher's file gives the same teacher back, or is refused."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from slimjax.distill.teacher import Teacher
from slimjax.errors import CheckpointError
from slimjax.models.build import build_model
from slimjax.models.settings import ModelSettings
from slimjax.trees import hash_tree

SETTINGS = ModelSettings(
    width=8, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=6
)
MODEL = build_model(SETTINGS, 11)


@pytest.fixture
def teacher():
    draw = np.random.default_rng(3)
    shapes = nn.meta.unbox(MODEL.abstract_variables())
    numbers = lambda leaf: np.asarray(draw.normal(size=leaf.shape), np.float32)
    return Teacher.of(MODEL, jax.tree.map(numbers, shapes))


def test_a_file_gives_the_same_teacher_back(teacher, tmp_path):
    teacher.write(tmp_path / "t.safetensors")
    again = Teacher.read(tmp_path / "t.safetensors")
    assert again.model == teacher.model
    assert again.digest == teacher.digest
    assert hash_tree(again.variables) == hash_tree(teacher.variables)


def test_a_changed_number_is_found(teacher, tmp_path):
    path = tmp_path / "t.safetensors"
    teacher.write(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        Teacher.read(path)
    path.write_bytes(content[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Teacher.read(path)


def test_a_forward_pass_costs_what_the_size_walk_counts(teacher):
    short, long = (teacher.flops_per_target({"": length}) for length in (8, 16))
    assert 0 < short < long
