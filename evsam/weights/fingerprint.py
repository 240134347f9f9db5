"""What tells the encoders of two models apart."""

from __future__ import annotations

import hashlib

import numpy as np

from evsam.weights.store import Weights


def encoder_fingerprint(weights: Weights) -> str:
    """Digest of what an embedding depends on: the variant's name and the tensors of its image encoder.

    Models that differ only in their decoders share embeddings, so they share fingerprints.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.blake2b(weights.variant.name.encode(), digest_size=8)
    for name in sorted(name for name in weights.tensors if name.startswith("image_encoder.")):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights.tensors[name]).data)
    return digest.hexdigest()
