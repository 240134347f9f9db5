"""PyTorch modules of all variants; the reference implementation and what training trains."""

from evsam.nn.sam import EfficientViTSam, Features

__all__ = ["EfficientViTSam", "Features"]
