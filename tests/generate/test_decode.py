"""What is written step by step is what the whole model would have said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapes import make_variables

from slimjax.errors import ConfigError
from slimjax.generate.decode import generate, generate_all
from slimjax.generate.sampling import Sampling, sample
from slimjax.models.cached import freeze_decoder
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder

RAGGED = decoder(
    11,
    8,
    (
        LayerConfig(4, 2, 4, 9),
        LayerConfig(0, 0, 4, 5, attention=False),
        LayerConfig(3, 1, 2, 0, mlp=False),
    ),
    attention_impl="reference",
)


def greedy(variables, prompt: list[int], num_tokens: int) -> list[int]:
    """Returns the best tokens, one full forward pass each."""
    model = RAGGED.module()
    logits_of = lambda v, x: model.apply(v, {"tokens": x})["tokens"].logits()
    apply = jax.jit(logits_of)
    tokens = np.zeros((1, len(prompt) + num_tokens), np.int32)
    tokens[0, : len(prompt)] = prompt
    for place in range(len(prompt), tokens.shape[1]):
        logits = apply(variables, tokens)  # What stands behind is not seen.
        tokens[0, place] = int(jnp.argmax(logits[0, place - 1]))
    return tokens[0, len(prompt) :].tolist()


@pytest.fixture(scope="module")
def variables():
    return make_variables(RAGGED, seed=3)[0]


@pytest.fixture(scope="module")
def model(variables):
    return freeze_decoder(RAGGED, variables)


def test_greedy_text_is_the_same_alone_and_in_company(variables, model):
    prompts = [np.array([1, 5, 2]), np.array([1]), np.array([1, 9, 9, 4, 3, 2, 7])]
    options = dict(max_new_tokens=20, eos_id=-1)
    together = generate_all(model, prompts, **options)
    for prompt, row in zip(prompts, together, strict=True):
        (alone,) = generate_all(model, [prompt], **options)
        np.testing.assert_array_equal(row, alone)
        assert len(row) == 20
    assert list(together[0][:6]) == greedy(variables, [1, 5, 2], 6)


def test_a_row_ends_before_its_end_of_text(variables, model):
    prompt = np.array([1, 5, 2])
    expected = greedy(variables, list(prompt), 6)
    end = expected[3]
    (row,) = generate_all(model, [prompt], max_new_tokens=20, eos_id=end)
    assert list(row) == expected[: expected.index(end)]


def test_the_same_seed_writes_the_same_and_another_one_does_not(model):
    def write(seed: int) -> list[int]:
        options = dict(max_new_tokens=24, eos_id=-1, sampling=Sampling(2.0), seed=seed)
        return list(generate_all(model, [np.array([1])], **options)[0])

    assert write(0) == write(0)
    assert write(0) != write(1)


def test_a_stream_is_what_one_loop_makes(model):
    options = dict(max_new_tokens=20, eos_id=-1, sampling=Sampling(1.0), seed=2)
    prompts = [np.array([1, 5]), np.array([1])]
    pieces = list(generate(model, prompts, chunk=7, **options))
    assert [piece.shape[1] for piece in pieces] == [1, 7, 7, 5]
    whole = np.stack(generate_all(model, prompts, **options))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def draw(sampling: Sampling, logits: list[float]) -> set[int]:
    rows = jnp.broadcast_to(jnp.array(logits), (2000, len(logits)))
    return set(np.asarray(sample(rows, jax.random.key(0), sampling)).tolist())


def test_sampling_draws_only_what_it_may():
    logits = [0.0, 3.0, 1.0, 2.0]
    assert draw(Sampling(0.0), logits) == {1}
    assert draw(Sampling(1.0), logits) == {0, 1, 2, 3}
    assert draw(Sampling(1.0, top_k=2), logits) == {1, 3}
    assert draw(Sampling(1.0, top_k=99), logits) == {0, 1, 2, 3}
    # Probabilities are .64, .24, .09, .03 from the best on.
    assert draw(Sampling(1.0, top_p=0.6), logits) == {1}
    assert draw(Sampling(1.0, top_p=0.7), logits) == {1, 3}
    assert draw(Sampling(1.0, top_k=1, top_p=0.99), logits) == {1}


@pytest.mark.parametrize(
    "wrong", [dict(temperature=-1.0), dict(top_k=-1), dict(top_p=0.0), dict(top_p=1.5)]
)
def test_sampling_that_chooses_nothing_is_refused(wrong):
    with pytest.raises(ConfigError, match="--"):
        Sampling(**wrong)
