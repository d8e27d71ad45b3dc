"""What a model answers: one head for each question."""

import dataclasses
import math

from slimjax.errors import ConfigError

BALANCED = "balanced"
"""Value of ``config.head.class_weights``: all classes count alike."""

MAX_GAMMA = 10.0
LEAST_TEMPERATURE, MAX_TEMPERATURE = 1e-3, 10.0
MAX_WORDS = 1 << 20


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """One head of a model.

    Attributes:
        name: Its name among the readouts.
        answers: How many classes or numbers it has, C.
        tower: The tower that it reads; empty for the main one.
        at: Which positions it reads: ``each`` of them, the ``first``, or the ``mean``
            or ``max`` of those that are not padding.
        table: Where its rows come from: ``own``, ``tied`` to the tower's tokens, or the
            ``batch``: then all vectors have length 1, and rows are compared.
        loss: What is lost where it is wrong: ``classes`` (one of C), ``binary`` (each
            of C by itself), ``gaussian`` (a number) or ``positions`` (one number for
            each position, of which one is right); or ``contrast`` (which row of the
            second half of a batch goes with one of the first, and the other way).
        bias: Whether something is added to the logits.
        variance: Of ``gaussian``: the variance of the targets.
        pooler: Outputs of BERT's pooler before a table of its own; 0 for no pooler.
        pooler_activation: Activation of these outputs.
        transform: Activation of BERT's transform before a tied table: a product, this,
            and a norm; empty for none.
        epsilon: That of the norm of the transform.
        scale: Factor of what the table is multiplied with.
        copy_dim: Width of the attention by which tokens of the source are copied; 0 for
            no copying. The tower must read a memory of the same vocabulary.
        weights: Factors of the training loss, one for each class; empty for none.
        focal_gamma: Power of ``1 - p`` by which the training loss of a target of
            probability p is multiplied; 0 for none.
        temperature: Of ``contrast``: what cosines are divided by.
    """

    name: str
    answers: int
    tower: str = ""
    at: str = "each"
    table: str = "own"
    loss: str = "classes"
    bias: bool = False
    variance: float = 1.0
    pooler: int = 0
    pooler_activation: str = "tanh"
    transform: str = ""
    epsilon: float = 1e-12
    scale: float = 1.0
    copy_dim: int = 0
    weights: tuple[float, ...] = ()
    focal_gamma: float = 0.0
    temperature: float = 0.05

    @property
    def is_bare(self) -> bool:
        """Whether logits are the product with the table and nothing else."""
        return not (self.bias or self.transform or self.copy_dim or self.scale != 1.0)

    @property
    def module(self) -> str:
        """The name of its own parameters."""
        return f"{self.name}_head"


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """The block ``config.head``: how a head that chooses among classes learns.

    Attributes:
        class_weights: Weights of classes in the training loss: empty, ``balanced``
            (the inverse of their frequencies), or a mapping such as ``{"spam": 3}``, in
            which classes that are missing weigh 1. They are scaled so that the mean
            weight of a training example is 1. Losses that are reported are unweighted.
        multi_label: Whether an example has a list of labels; then each class is
            answered by itself, yes or no.
        focal_gamma: Power of ``1 - p`` by which the training loss of a target of
            probability p is multiplied, so that easy examples count less; 2 is usual,
            0 is none. Losses that are reported are without it.
        num_sentences: Most sentences of an extractive summary; 0 for no limit.
        max_words: Most words of an extractive summary; 0 for no limit.
        temperature: What cosines of vectors are divided by where texts are ranked. A
            smaller one separates the right text from the others more sharply.
    """

    class_weights: str | dict = ""
    multi_label: bool = False
    focal_gamma: float = 0.0
    num_sentences: int = 3
    max_words: int = 0
    temperature: float = 0.05

    def __post_init__(self):
        """Refuses weights that are none, and summaries without an end."""
        self._check_weights()
        for name in ("num_sentences", "max_words"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_WORDS:
                raise ConfigError(
                    f"config.head.{name}={value} must be 0 to {MAX_WORDS}."
                )
        if not self.num_sentences and not self.max_words:
            raise ConfigError(
                "config.head.num_sentences=0 and config.head.max_words=0 leave a "
                "summary without an end. Set one of them."
            )
        if not 0 <= self.focal_gamma <= MAX_GAMMA:
            raise ConfigError(
                f"config.head.focal_gamma={self.focal_gamma} must be 0 to {MAX_GAMMA}."
            )
        if not LEAST_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"config.head.temperature={self.temperature} must be "
                f"{LEAST_TEMPERATURE} to {MAX_TEMPERATURE}."
            )

    def _check_weights(self) -> None:
        where, given = "config.head.class_weights", self.class_weights
        if isinstance(given, str) and given not in ("", BALANCED):
            raise ConfigError(
                f"{where}={given!r} is unknown. Set {BALANCED!r}, or weights such as "
                '{"spam": 3}.'
            )
        for name, weight in given.items() if isinstance(given, dict) else ():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not math.isfinite(weight) or weight <= 0:
                raise ConfigError(f"{where}[{name!r}]={weight!r} must be above 0.")
