"""The block ``config.decode``: how a model writes its answers."""

import dataclasses
import math

from slimjax.data.config import DataConfig
from slimjax.errors import ConfigError

LEAST = dict(beam_size=1, max_new_tokens=0, top_k=0, seed=0)
MOST = dict(beam_size=64, max_new_tokens=1 << 16, top_k=2**31 - 1, seed=2**31 - 1)


@dataclasses.dataclass(frozen=True)
class DecodeConfig:
    """How the answers of ``slimjax predict`` and of evaluations are written.

    Attributes:
        beam_size: Texts that are followed at the same time, of which the best is the
            answer; 1 always takes the likeliest token (greedy).
        length_penalty: Power a of the divisor ((5 + n) / 6)^a of the log-probability of
            a text of n tokens, by which texts are ranked; 0 ranks by probability, which
            prefers short texts. It has no effect with beam_size=1.
        max_new_tokens: Most tokens of an answer, its end counted; 0 means as many as
            ``config.data.target_len``.
        temperature: Above 0, answers are drawn at random, from logits that are divided
            by it; 0 searches for the likeliest answer. A temperature needs beam_size=1.
        top_k: Only the k best tokens are drawn from; 0 for all.
        top_p: Only the best tokens that together reach this probability are drawn from;
            1 for all.
        seed: Root of the randomness; the answer to an example depends on it and on what
            the model reads of the example.
    """

    beam_size: int = 4
    length_penalty: float = 0.6
    max_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        """Refuses values with which nothing can be written."""
        for name, least in LEAST.items():
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
        self._check_drawing()

    def _check_drawing(self) -> None:
        where = f"config.decode.temperature={self.temperature}"
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise ConfigError(f"{where} must be 0 (off) or more.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(
                f"config.decode.top_p={self.top_p} must be above 0 and at most 1."
            )
        if self.temperature and self.beam_size > 1:
            raise ConfigError(
                f"{where} draws answers at random, and config.decode.beam_size="
                f"{self.beam_size} searches for the likeliest. Set beam_size=1."
            )
        for name, off in (("top_k", 0), ("top_p", 1), ("seed", 0)):
            if not self.temperature and getattr(self, name) != off:
                raise ConfigError(
                    f"config.decode.{name}={getattr(self, name)} has no effect without "
                    "config.decode.temperature."
                )

    def with_room(self, data: DataConfig) -> "DecodeConfig":
        """Returns the same, with as much room for an answer as targets have.

        Examples:
            >>> DecodeConfig().with_room(DataConfig(seq_len=64)).max_new_tokens
            64
        """
        room = self.max_new_tokens or data.target_len or data.seq_len
        return dataclasses.replace(self, max_new_tokens=room)
