"""The fused blocks of the model as functions on arrays.

Each op is one function with a NumPy interface (`out=`, `backend=`, `threads=`), compiled CPU kernels chosen at run
time, and a PyTorch reference in `evsam.ops.reference`, which is its specification.
"""

from evsam._C import cpu_features, get_num_threads, selected_isa, set_num_threads
from evsam.ops.relu_linear_attention import relu_linear_attention

__all__ = ["cpu_features", "get_num_threads", "relu_linear_attention", "selected_isa", "set_num_threads"]
