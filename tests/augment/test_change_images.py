"""Changed images: what each change may do, the same bits on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from slimjax.augment.config import AugmentConfig
from slimjax.augment.images import change_images
from slimjax.augment.mixing import draw_shares, mix, partners

ALL = dict(flip=True, shift=2, crop=0.6, brightness=0.4, noise=0.1, cutout=0.5)
B, H, W, C = 16, 6, 9, 3


def make(seed=0, rows=B):
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, H, W, C))
    return jnp.asarray(pixels, jnp.float32) / 255


def change(x, seed=0, **settings):
    run = jax.jit(lambda x, key: change_images(x, key, AugmentConfig(**settings)))
    return run(x, jax.random.key(seed))


def test_half_of_the_images_are_mirrored():
    x = make(rows=64)
    found, mirrored = change(x, flip=True), x[:, :, ::-1]
    is_same = jnp.all(found == x, axis=(1, 2, 3))
    is_mirrored = jnp.all(found == mirrored, axis=(1, 2, 3))
    assert bool(jnp.all(is_same ^ is_mirrored))
    assert 16 < int(is_mirrored.sum()) < 48


def test_images_are_shifted_with_their_border_repeated():
    x = np.asarray(make(rows=64))
    found = np.asarray(change(make(rows=64), shift=2))
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="edge")
    seen = set()
    for i, image in enumerate(found):
        places = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if np.array_equal(image, padded[i, down : down + H, right : right + W])
        ]
        assert len(places) == 1
        seen |= set(places)
    assert len(seen) > 15  # Of 25.


def test_a_crop_is_a_part_of_the_image():
    # A ramp stays a ramp: less steep, and no steeper than the smallest part says.
    ramp = jnp.broadcast_to(jnp.arange(W, dtype=jnp.float32) / W, (B, H, W))
    found = np.asarray(change(ramp[..., None], crop=0.5))[..., 0]
    slopes = np.diff(found, axis=2)[:, :, 1:-1] * W
    assert (slopes > 0.5 - 1e-4).all()
    assert (slopes < 1 + 1e-4).all()
    assert np.ptp(slopes.mean((1, 2))) > 0.1
    np.testing.assert_allclose(found[:, :1].repeat(H, 1), found, atol=1e-6)
    whole = make()
    np.testing.assert_allclose(change(whole, crop=1.0), whole, atol=1e-6)


def test_brightness_is_a_factor_of_each_image():
    x = make(rows=64) * 0.5 + 0.1
    ratio = np.asarray(change(x, brightness=0.4) / x)
    assert np.ptp(ratio, axis=(1, 2, 3)).max() < 1e-5
    assert 0.6 <= ratio.min() < 0.85
    assert 1.15 < ratio.max() <= 1.4


def test_noise_has_the_deviation_that_is_asked_for():
    x = jnp.full((B, 40, 40, C), 0.5)
    found = np.asarray(change(x, noise=0.05)) - 0.5
    assert abs(found.std() - 0.05) < 0.001  # Of 77,000 draws.
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.06


def test_a_square_is_cut_out_and_has_the_mean_colour():
    x = make(rows=64)
    found = np.asarray(change(x, cutout=0.5))
    cut = (found != np.asarray(x)).any(-1)
    sizes = cut.sum((1, 2))
    assert sizes.max() == 9  # A side of 3 of 6.
    assert sizes.min() >= 2  # The centre is inside of the image.
    mean = np.asarray(x).mean((1, 2))
    for i in range(64):
        expected = np.broadcast_to(mean[i], found[i][cut[i]].shape)
        np.testing.assert_allclose(found[i][cut[i]], expected, atol=1e-5)


def test_some_rows_stay_as_they_are():
    x = make(rows=64)
    found = change(x, rows=0.5, brightness=0.4)
    same = int(jnp.all(found == x, axis=(1, 2, 3)).sum())
    assert 16 < same < 48


@pytest.mark.parametrize("name", ALL)
def test_a_row_changes_with_the_key_and_with_its_place(name):
    x = jnp.broadcast_to(make(rows=1), (B, H, W, C))
    found = np.asarray(change(x, **{name: ALL[name]}))
    assert len(np.unique(found.reshape(B, -1), axis=0)) > 1
    other = np.asarray(change(x, seed=1, **{name: ALL[name]}))
    assert not np.array_equal(found, other)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("changes", [ALL, {"rows": 0.5, "noise": 0.3}])
def test_eight_devices_see_the_same_bits(changes):
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    config = AugmentConfig(**changes)

    @jax.jit
    def run(x, key):
        share = draw_shares(jax.random.fold_in(key, 1), len(x), 0.3)
        changed = change_images(x, key, config)
        return changed, share, mix(changed, share)

    x, key = make(), jax.random.key(3)
    one = run(x, key)
    eight = run(jax.device_put(x, spread), key)
    assert len(eight[0].sharding.device_set) == 8
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_mixed_rows_are_between_two():
    x, key = make(), jax.random.key(0)
    share = draw_shares(key, B, 0.4)
    assert 0 <= float(share.min()) < 0.2
    assert 0.8 < float(share.max()) <= 1
    found = np.asarray(mix(x, share))
    for i in range(B):
        own, other = np.asarray(x[i]), np.asarray(x[B - 1 - i])
        np.testing.assert_array_equal(np.asarray(partners(x)[i]), other)
        expected = float(share[i]) * own + (1 - float(share[i])) * other
        np.testing.assert_allclose(found[i], expected, atol=1e-6)
    many = np.asarray(draw_shares(key, 4000, 0.4))
    assert abs(many.mean() - 0.5) < 0.03
    assert abs(many.var() - 0.25 / 1.8) < 0.01  # 1 / (4 (2 alpha + 1)).
