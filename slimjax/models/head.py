"""What a model answers: one head for each question."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """One head of a model.

    Attributes:
        name: Its name among the readouts.
        answers: How many classes or numbers it has, C.
        tower: The tower that it reads; empty for the main one.
        at: Which positions it reads: ``each`` of them, the ``first``, or the ``mean``
            or ``max`` of those that are not padding.
        table: Where its rows come from: ``own``, or ``tied`` to the tower's tokens.
        loss: What is lost where it is wrong: ``classes`` (one of C), ``binary`` (each
            of C by itself) or ``gaussian`` (a number).
        bias: Whether something is added to the logits of a table of its own.
        variance: Of ``gaussian``: the variance of the targets.
        pooler: Outputs of BERT's pooler before a table of its own; 0 for no pooler.
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

    @property
    def module(self) -> str:
        """The name of its own parameters."""
        return f"{self.name}_head"
