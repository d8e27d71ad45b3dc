"""A fair sample of a long stream of text, for training a tokenizer."""

import hashlib
import heapq

from slimjax.text.cutting import cut_text

SAMPLE_BYTES = 4_000_000
PASSAGE_BYTES = 4096  # Short enough for `pieces` to take each as one line.


class PassageSample:
    """Keeps the passages whose hashes are lowest, as few as make up `max_bytes`.

    A passage is kept or not by what it says and what else there is, never by its
    place: the same corpus gives the same sample, and all of it has the same chance.
    """

    def __init__(self, max_bytes: int = SAMPLE_BYTES):
        """Starts empty."""
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._heap: list[tuple[int, str, float]] = []  # The highest hash comes first.

    def add(self, text: str, label: float):
        """Offers a document, cut into passages; `label` comes back with each."""
        for passage in cut_text(text, PASSAGE_BYTES):
            data = passage.encode()
            rank = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
            if self._num_bytes >= self._max_bytes and rank > -self._heap[0][0]:
                continue
            heapq.heappush(self._heap, (-rank, passage, label))
            self._num_bytes += len(data)
            self._drop()

    def passages(self) -> list[tuple[str, float]]:
        """Returns the passages with their labels, in the order of their hashes."""
        return [(passage, label) for _, passage, label in sorted(self._heap)[::-1]]

    def _drop(self):
        """Drops the highest hashes while the others are enough."""
        while True:
            size = len(self._heap[0][1].encode())
            if self._num_bytes - size < self._max_bytes:
                return
            heapq.heappop(self._heap)
            self._num_bytes -= size
