"""The block ``config.decode``: how a model writes its answers."""

import dataclasses
import math

from slimjax.data.config import DataConfig
from slimjax.errors import ConfigError

MOST = dict(beam_size=64, max_new_tokens=1 << 16)


@dataclasses.dataclass(frozen=True)
class DecodeConfig:
    """How the answers of ``slimjax predict`` and of evaluations are written.

    Attributes:
        beam_size: Texts that are followed at the same time, of which the best is the
            answer; 1 always takes the likeliest token (greedy).
        length_penalty: Power a of the divisor ((5 + n) / 6)^a of the log-probability of
            a text of n tokens, by which texts are ranked; 0 ranks by probability, which
            prefers short texts.
        max_new_tokens: Most tokens of an answer, its end counted; 0 means as many as
            ``config.data.target_len``.
    """

    beam_size: int = 4
    length_penalty: float = 0.6
    max_new_tokens: int = 0

    def __post_init__(self):
        """Refuses values with which nothing can be written."""
        for name, least in (("beam_size", 1), ("max_new_tokens", 0)):
            value = getattr(self, name)
            if not least <= value <= MOST[name]:
                raise ConfigError(
                    f"config.decode.{name}={value} must be in [{least}, {MOST[name]}]."
                )
        if not math.isfinite(self.length_penalty) or not 0 <= self.length_penalty <= 10:
            raise ConfigError(
                f"config.decode.length_penalty={self.length_penalty} must be in "
                "[0, 10]."
            )

    def with_room(self, data: DataConfig) -> "DecodeConfig":
        """Returns the same, with as much room for an answer as targets have.

        Examples:
            >>> DecodeConfig().with_room(DataConfig(seq_len=64)).max_new_tokens
            64
        """
        room = self.max_new_tokens or data.target_len or data.seq_len
        return dataclasses.replace(self, max_new_tokens=room)
