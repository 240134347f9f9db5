"""evsam's TensorRT plugins as quickly deployable ones: their kernels become part of the engine.

TensorRT 10.9 and later have this way of writing plugins (``tensorrt.plugin``, which NVIDIA calls experimental). A
plugin is described in Python while an engine is built; its kernel is handed over as PTX and stored in the engine, which
then runs without a plugin library and without Python. A plugin has one kernel, no workspace, and 32-bit integers as
further arguments, so not every plugin can be written like this:

| plugin | here | |
|---|---|---|
| EvsamLayerNorm2d | yes | float16 and float32 |
| EvsamUpsampleAdd | yes | float16 and float32; with a second map to resample its name is EvsamUpsampleAddTwo |
| EvsamReluLinearAttention | yes | a block has a head; float32 with head_dim 32 needs more shared memory than is sure |
| EvsamFusedMBConv | yes | float16, a block has all hidden channels; stride 2 needs more shared memory than is sure |
| EvsamLiteMLA | no | a chain of kernels (1x1 convolution, attention, 1x1 convolution) with a workspace between them |

Example:
    >>> from evsam.export import quick_plugins
    >>> quick_plugins.register()                                             # doctest: +SKIP
    >>> left = quick_plugins.retarget(model, precision="fp16")               # doctest: +SKIP
"""

from evsam.export.quick_plugins.nodes import retarget
from evsam.export.quick_plugins.plugins import SHARED_BYTES
from evsam.export.quick_plugins.ptx import find_ptx
from evsam.export.quick_plugins.registration import NAMESPACE, QUICK_PLUGINS, register

__all__ = ["NAMESPACE", "QUICK_PLUGINS", "SHARED_BYTES", "find_ptx", "register", "retarget"]
