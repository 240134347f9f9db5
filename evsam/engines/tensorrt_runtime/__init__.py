"""What the TensorRT engine stands on: CUDA's memory and streams, TensorRT's library, plans, and their execution.

Nothing here knows what a model computes. ``tensorrt`` and CUDA's Python package are imported when first needed.
"""
