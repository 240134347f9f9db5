"""What the CUDA kernels should cost on GPUs that nobody here has: a model made of data-sheet numbers.

:mod:`~evsam.gpu_model.devices` holds the numbers, :mod:`~evsam.gpu_model.occupancy` the rules by which blocks share a
multiprocessor, :mod:`~evsam.gpu_model.geometry` the launches of each op of :mod:`evsam.layers`, and
:mod:`~evsam.gpu_model.report` puts them together. Everything that comes out is a model, not a measurement. Nothing here
needs a GPU, PyTorch or the compiled module.
"""
