"""Adding units: the grown model computes what it did.

What a new unit writes is 0, so that nothing changes, and what it reads is drawn anew,
so that it can learn. Channels of a residual stream cannot be added this way, nor can
filters of a convolution: a norm takes its mean over them.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import numpy_of
from slimjax.nn.gates import NESTED, is_shared
from slimjax.resize.plan import NEW, Change
from slimjax.resize.shrink import take, writes
from slimjax.trees import Path, flatten, unflatten


def plan_growth(
    sizes: Mapping[Path, tuple[int, ...]], more: Mapping[Path, int]
) -> Change:
    """Returns the change that adds units after those that are there.

    Args:
        sizes: Shapes of all gates, by path.
        more: Units to add, by gate; of query heads, those to add to each group. A new
            group gets as many query heads as the others have.

    Raises:
        ValueError: If channels of a residual stream or filters would be added.

    Examples:
        >>> change = plan_growth({("mlp", "mlp"): (2,)}, {("mlp", "mlp"): 1})
        >>> change.origin[("mlp", "mlp")]
        array([ 0,  1, -1])
    """
    origin = {}
    for path, shape in sizes.items():
        num, group = more.get(path, 0), (*path[:-1], NESTED.get(path[-1], ""))
        if num and is_shared(path[-1]):
            raise ValueError(f"{path}: channels and filters are not added")
        groups = sizes[group][0] if group in sizes else 1
        units = np.arange(shape[0] if shape else 1).reshape(groups, -1)
        added = more.get(group, 0) if group in sizes else 0
        units = np.pad(units, ((0, added), (0, num)), constant_values=NEW)
        origin[path] = units.reshape(-1) if shape else np.zeros((), int)
    return Change(origin, sizes, frozenset())


def grow(tree: PyTree, names: PyTree, change: Change, fresh: PyTree) -> PyTree:
    """Returns weights with added units.

    Args:
        tree: Weights, or anything of their structure.
        names: Names of the axes of each leaf.
        change: What is added.
        fresh: Entries of new units, in a tree of the new shapes; those of weights that
            write what units hold are 0 whatever stands here.
    """
    axes, drawn = flatten(names), flatten(fresh)

    def grow_leaf(path: Path, leaf: np.ndarray) -> np.ndarray:
        origin = change.indices(path, leaf.shape, axes[path])
        grown = take(leaf, origin, axes[path])
        if writes(axes[path]):
            return grown
        is_new = np.zeros((1,) * grown.ndim, bool)
        for axis, units in enumerate(origin):
            if units is not None:
                others = [i for i in range(grown.ndim) if i != axis]
                is_new = is_new | np.expand_dims(units == NEW, others)
        return numpy_of(grown).where(is_new, drawn[path], grown)

    return unflatten({path: grow_leaf(path, x) for path, x in flatten(tree).items()})
