"""Weights: finding, fetching, reading, checking, writing and converting them. Works without torch."""

from evsam.network import expected_tensors
from evsam.weights.locate import cache_dir, download, resolve
from evsam.weights.store import Weights, convert, encoder_fingerprint, load_weights, model_fingerprint, save_weights

__all__ = [
    "Weights",
    "cache_dir",
    "convert",
    "download",
    "encoder_fingerprint",
    "expected_tensors",
    "load_weights",
    "model_fingerprint",
    "resolve",
    "save_weights",
]
