"""PyTorch modules of all variants; the reference implementation and what training trains."""

from evsam.errors import BackendUnavailable

try:
    import torch  # noqa: F401 - here, so that one place says which extra brings it
except ImportError as error:
    raise BackendUnavailable("evsam.nn needs torch; use pip install 'evsam[torch]'") from error

from evsam.nn.sam import EfficientViTSam, Features

__all__ = ["EfficientViTSam", "Features"]
