"""Which tensor of other software is which weight of ours, and in which layout.

A weight of ours is a whole tensor, a part of one (the fused queries, keys and values of
GPT-2), or one of several copies of it (T5's table of distances, which layers share).
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from slimjax.errors import ConfigError, DataError
from slimjax.interop.foreign import Tensor
from slimjax.trees import Path

PLAIN, KERNEL, CONV = "plain", "kernel", "conv"
"""Layouts: the same numbers; ``[out, in]``; ``[in, out]``."""


@dataclasses.dataclass(frozen=True)
class Link:
    """A weight of ours and a tensor of other software.

    Attributes:
        path: Our weight.
        name: The tensor.
        layout: How the tensor lies: `PLAIN`, `KERNEL` or `CONV`.
        inputs: Axes of our weight that are its inputs; of plain tensors 1 for vectors,
            which are flat there, and 2 for tables.
        part: Which part of the tensor's outputs, where several weights share it.
        order: Rows of the tensor in the order of ours; empty for the same order.
    """

    path: Path
    name: str
    layout: str = PLAIN
    inputs: int = 1
    part: int | None = None
    order: tuple[int, ...] = ()

    def their_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Returns the shape of the tensor, or its part, of a weight's shape."""
        if self.layout == PLAIN:
            return (math.prod(shape),) if self.inputs == 1 else tuple(shape)
        read = math.prod(shape[: self.inputs])
        written = math.prod(shape[self.inputs :])
        return (written, read) if self.layout == KERNEL else (read, written)

    def to_ours(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Returns our weight of a tensor, or of its part."""
        if self.order:
            array = array[list(self.order)]
        array = array.T if self.layout == KERNEL else array
        return np.ascontiguousarray(array).reshape(shape)

    def to_theirs(self, weight: np.ndarray) -> np.ndarray:
        """Returns the tensor, or its part, of our weight."""
        shape = self.their_shape(weight.shape)
        if self.layout == KERNEL:
            array = weight.reshape(shape[::-1]).T
        else:
            array = weight.reshape(shape)
        if self.order:
            array = array[np.argsort(self.order)]
        return np.ascontiguousarray(array)


def vector(path: Path, name: str, part: int | None = None) -> Link:
    """Returns the link of a vector, whatever its axes are with us."""
    return Link(path, name, part=part)


def table(path: Path, name: str, order: tuple[int, ...] = ()) -> Link:
    """Returns the link of a table, which lies the same way."""
    return Link(path, name, inputs=2, order=order)


def dense(
    path: Path,
    name: str,
    layout: str = KERNEL,
    *,
    inputs: int = 1,
    has_bias: bool = True,
) -> list[Link]:
    """Returns the links of a product's matrix and of its bias.

    Args:
        path: The matrix; its bias has the same name with ``_bias``.
        name: Of the tensors, without ``.weight`` and ``.bias``.
        layout: How the matrix lies: `KERNEL` or `CONV`.
        inputs: Axes of our matrix that are its inputs.
        has_bias: Whether there is a bias.
    """
    *module, last = path
    found = [Link(path, f"{name}.weight", layout, inputs)]
    bias = vector((*module, f"{last}_bias"), f"{name}.bias")
    return [*found, bias] if has_bias else found


def norm(path: Path, name: str) -> list[Link]:
    """Returns the links of the scale and the bias of a norm."""
    pairs = (("scale", "weight"), ("bias", "bias"))
    return [vector((*path, ours), f"{name}.{theirs}") for ours, theirs in pairs]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All links of a model, with the shapes of our weights.

    Attributes:
        links: The links.
        shapes: Shapes of our weights, by path.
    """

    links: Sequence[Link]
    shapes: Mapping[Path, tuple[int, ...]]

    def tensors(self) -> dict[str, tuple[Link, ...]]:
        """Returns the links of each tensor, parts in order."""
        found: dict[str, tuple[Link, ...]] = {}
        for link in sorted(self.links, key=lambda link: link.part or 0):
            found[link.name] = (*found.get(link.name, ()), link)
        return found

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Returns the shape that a tensor has to have."""
        links = self.tensors()[name]
        shapes = [self._shape(link) for link in links]
        if links[0].part is None:
            return shapes[0]
        axis = _axis(links[0])
        whole = list(shapes[0])
        whole[axis] = sum(shape[axis] for shape in shapes)
        return tuple(whole)

    def check(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Refuses tensors that are missing or have another shape.

        Raises:
            DataError: Naming the first one, and how many more there are.
        """
        wanted = self.tensors()
        missing = sorted(set(wanted) - set(tensors))
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise DataError(f"{where}: the tensor {missing[0]}{more} is missing.")
        for name in wanted:
            shape, found = self.shape_of(name), tensors[name].shape
            if tuple(found) != shape:
                raise DataError(
                    f"{where}: the tensor {name} has the shape {list(found)}, and "
                    f"config.json wants {list(shape)}."
                )

    def read(
        self, tensors: Mapping[str, Tensor]
    ) -> Iterator[tuple[Path, Callable[[], np.ndarray]]]:
        """Yields each weight of ours with the function that reads it."""
        for links in self.tensors().values():
            for number, link in enumerate(links):
                yield link.path, self._reader(tensors[link.name], links, number)

    def write(self, read: Callable[[Path], np.ndarray]) -> dict[str, Tensor]:
        """Returns tensors whose numbers are made of our weights when they are read.

        Args:
            read: Returns a weight of ours, float32.
        """
        return {
            name: Tensor(self.shape_of(name), "float32", self._writer(links, read))
            for name, links in self.tensors().items()
        }

    def _shape(self, link: Link) -> tuple[int, ...]:
        return link.their_shape(self.shapes[link.path])

    def _reader(
        self, tensor: Tensor, links: Sequence[Link], number: int
    ) -> Callable[[], np.ndarray]:
        link = links[number]
        shape = self.shapes[link.path]
        if link.part is None:
            return lambda: link.to_ours(tensor.read(), shape)
        axis = _axis(link)
        sizes = [self._shape(other)[axis] for other in links]
        start = sum(sizes[:number])
        part = slice(start, start + sizes[number])
        index = (slice(None),) * axis + (part,)
        return lambda: link.to_ours(tensor.read()[index], shape)

    def _writer(
        self, links: Sequence[Link], read: Callable[[Path], np.ndarray]
    ) -> Callable[[], np.ndarray]:
        if links[0].part is None:
            return lambda: _write_copies(links, read)

        def join() -> np.ndarray:
            parts = [link.to_theirs(read(link.path)) for link in links]
            return np.concatenate(parts, axis=_axis(links[0]))

        return join


def _write_copies(
    links: Sequence[Link], read: Callable[[Path], np.ndarray]
) -> np.ndarray:
    """Returns the tensor of weights that are all its copies.

    Raises:
        ConfigError: If they differ.
    """
    first, *others = (link.to_theirs(read(link.path)) for link in links)
    if not all(np.array_equal(first, other) for other in others):
        raise ConfigError(
            f"--format=hf: {links[0].name} is one tensor for all layers, and those of "
            "this model differ. Take --format=hf-padded."
        )
    return first


def _axis(link: Link) -> int:
    """Returns the axis of outputs of a tensor that several weights share."""
    return 1 if link.layout == CONV else 0
