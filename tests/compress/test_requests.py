"""What is asked for: requests that exclude each other."""

import pytest

from slimjax.compress.config import Request
from slimjax.errors import ConfigError


@pytest.mark.parametrize("name", ["objective.budgets", "objective.budgets.bytes"])
def test_bytes_of_a_gguf_file_are_one_budget(name):
    given = dict(size="gguf_bytes", kind="Q4_0", overrides=((name, "50M"),))
    with pytest.raises(ConfigError, match=r"^--config.objective.budgets.* is not for"):
        Request("model", "text:a", "slim", (), **given)
