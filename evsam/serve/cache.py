"""Embeddings of photos that were asked for lately."""

from __future__ import annotations

import math
from collections import OrderedDict

from evsam.embedding import Embedding
from evsam.serve.metrics import Metrics


class EmbeddingCache:
    """The embeddings used last, up to a number of bytes. For one thread.

    Args:
        limit: bytes of all embeddings together; one that is larger alone is not kept.
        metrics: told what is kept and found.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit, self._metrics = limit, metrics
        self._kept: OrderedDict[str, Embedding] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Embedding | None:
        """The embedding of a photo, which counts as used now; None where it is not kept."""
        found = self._kept.get(key)
        self._metrics.cached.labels("yes" if found else "no").inc()
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def has(self, key: str) -> bool:
        """Whether an embedding is kept; it does not count as used."""
        return key in self._kept

    def put_spare(self, key: str, embedding: Embedding) -> bool:
        """Keep an embedding that nobody has asked for, if there is room; it is the first to go. Whether it is kept."""
        if key not in self._kept:
            if self._bytes + embedding_bytes(embedding) > self._limit:
                return False
            self.put(key, embedding)
            self._kept.move_to_end(key, last=False)
        return True

    def put(self, key: str, embedding: Embedding) -> None:
        """Keep an embedding; those used least lately go."""
        size = embedding_bytes(embedding)
        if size <= self._limit:
            old = self._kept.pop(key, None)
            self._kept[key] = embedding
            self._bytes += size - (embedding_bytes(old) if old else 0)
        while self._bytes > self._limit:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= embedding_bytes(gone)
        self._metrics.cache_bytes.set(self._bytes)
        self._metrics.cache_photos.set(len(self._kept))


def embedding_bytes(embedding: Embedding) -> int:
    """Bytes of its maps, float32, on whatever device."""
    return sum(4 * math.prod(array.shape) for array in embedding.arrays)
