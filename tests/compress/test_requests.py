"""What is asked for: requests that exclude each other."""

import pytest

from slimjax.compress.config import Request
from slimjax.compress.settings import read_settings
from slimjax.errors import ConfigError


@pytest.mark.parametrize("name", ["objective.budgets", "objective.budgets.bytes"])
def test_bytes_of_a_gguf_file_are_one_budget(name):
    given = dict(size="gguf_bytes", kind="Q4_0", overrides=((name, "50M"),))
    with pytest.raises(ConfigError, match=r"^--config.objective.budgets.* is not for"):
        Request("model", "text:a", "slim", (), **given)


def test_a_setting_that_is_not_read_is_told_all_that_are():
    request = Request("m", "text:a", "slim", ("1M",), overrides=(("tune.a", "1"),))
    with pytest.raises(
        ConfigError, match=r"^--config\.tune\.a is no setting"
    ) as caught:
        read_settings(request)
    known = ("data", "resize", "quantize", "objective", "optim", "seed", "model.dtype")
    assert [name for name in known if name not in str(caught.value)] == []
