"""What the CUDA kernels should cost on GPUs that nobody here has: a model made of data-sheet numbers.

:mod:`~evsam.gpu_model.devices` holds the numbers, :mod:`~evsam.gpu_model.occupancy` the rules by which blocks share a
multiprocessor, :mod:`~evsam.gpu_model.layers` the launches of a variant's encoder, :mod:`~evsam.gpu_model.costs` what
each of them computes and moves, and :mod:`~evsam.gpu_model.report` puts them together. Everything that comes out is a
model, not a measurement. Nothing here needs a GPU, PyTorch or the compiled module.
"""
