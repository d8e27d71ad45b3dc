"""``slimjax compress``: a finished model made small enough for each of several budgets.

    statistics -> curves and prices of bits -> choice -> cut, refit, round -> report

Statistics are taken once; each budget then has a choice and a model of its own.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.compress.config import Request
from slimjax.compress.curves import make_curves
from slimjax.compress.errors import Error, measure
from slimjax.compress.folder import Result, check_free
from slimjax.compress.levels import Levels
from slimjax.compress.moments import HEAD, Moments, collect
from slimjax.compress.offers import Catalogue, Choice, price_bits
from slimjax.compress.refit import Refit
from slimjax.compress.settings import Settings, read_settings
from slimjax.compress.texts import Text, load_data, read_rows
from slimjax.compress.walk import Walk
from slimjax.errors import ConfigError
from slimjax.models.config import ModelConfig
from slimjax.nn.quantize import FULL, is_matrix, precision_names, uniform_precision
from slimjax.objective.inventory import Bits, Inventory, take_inventory
from slimjax.objective.size import MEASURES, make_size_fn
from slimjax.report.description import describe_data  # placeholder
