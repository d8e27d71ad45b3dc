"""Sizes in the measure that is asked for, which may be that of an exported file."""

from slimjax.compress.gguf_budget import GGUF_BYTES, make_gguf_size_fn
from slimjax.compress.settings import Settings
from slimjax.compress.slimming import Material
from slimjax.objective.inventory import Bits
from slimjax.objective.size import SizeFn


def size_fn_of(settings: Settings, material: Material) -> SizeFn | None:
    """Returns the size of a model by its gates, if a file of its own is measured."""
    if settings.file_size is None:
        return None
    return make_gguf_size_fn(settings.file_size, material.model)


def sizes_of(
    settings: Settings, material: Material, bits: Bits | None = None
) -> dict[str, float]:
    """Returns the size of a model in all measures.

    Args:
        settings: Know the measure that is asked for.
        material: The model.
        bits: Bits of its units; None for 16 everywhere.
    """
    sizes = material.sizes(bits, settings.quantize.grid if bits else 0)
    size_fn = size_fn_of(settings, material)
    if size_fn is None:
        return sizes
    return sizes | {GGUF_BYTES: size_fn(material.inventory.open_gates())}


def counted_sizes(settings: Settings, material: Material) -> dict[str, float]:
    """Returns the sizes of a model; its bytes are those of the file that counts."""
    sizes = sizes_of(settings, material)
    return sizes | ({"bytes": sizes[GGUF_BYTES]} if GGUF_BYTES in sizes else {})
