"""Stand-ins for ``tensorrt`` and CUDA's Python package that run on the CPU and watch how they are used.

What the real ones leave undefined (reading too early, freeing twice, writing past the end) is an error here.
"""

import pytest

for _name in ("onnx", "onnxruntime"):
    pytest.importorskip(_name, reason=f"the stand-in of TensorRT needs {_name}")
