"""What the CUDA kernels should cost on GPUs that nobody here has: a model made of data-sheet numbers.

    python -m benchmarks.gpu_model l0 --device orin       # what the encoder's kernels should take
    python -m benchmarks.gpu_model.budgets                # what the compiler made of each kernel, against its budget

:mod:`~benchmarks.gpu_model.launches` has what an op launches, :mod:`~benchmarks.gpu_model.occupancy` the rules by which
blocks share a multiprocessor, :mod:`~benchmarks.gpu_model.budgets` the table of registers,
:mod:`~benchmarks.gpu_model.compiled` where that comes from, and :mod:`~benchmarks.gpu_model.model` puts them together
with the data sheets of :mod:`evsam.selftest.devices`. Everything that comes out is a model, not a measurement. The
model needs no GPU, PyTorch or nvcc.
"""
