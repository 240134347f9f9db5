"""Models for other runtimes: ONNX files, TensorRT engines, Triton repositories, and float16 that keeps its masks."""
