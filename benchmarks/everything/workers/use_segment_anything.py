"""segment_anything's own generator, as it is, over a model that onnxruntime or OpenVINO runs.

Photos are resized and normalised as the variant wants them (the generator's own resize is to SAM's 1024 pixels). All
else is the generator's: the grid, batches of 64 points, masks upsampled by torch, filters, NMS, RLE. Its environment
must have evsam, segment-anything, torch, torchvision and the runtime.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from segment_anything.predictor import SamPredictor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.everything.records import Records
from evsam.transforms import fitted_size, image_to_pixels
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

GROUPS = (1, 8, 64)
"""Prompts that the runtime may get at a time; the fastest is found when the model is loaded."""

PADDING = -1


def version() -> str:
    runtime = sys.modules.get("openvino") or sys.modules["onnxruntime"]
    return str(runtime.__version__).split("-")[0]


class OnnxRuntime:
    """An ONNX file on the CPU provider."""

    def __init__(self, path: str, threads: int, outputs: list[str]) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = outputs

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))


class OpenVino:
    """An ONNX file on the CPU plugin, tuned for latency, in float32."""

    def __init__(self, path: str, threads: int, outputs: list[str]) -> None:
        import openvino as ov

        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = ov.Core().compile_model(path, "CPU", config)
        self._outputs = outputs
        self._call = compiled.create_infer_request()

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._call.infer(feed, share_inputs=True)
        # copies, because the tensors are written again by the next call
        return {name: np.array(self._call.get_tensor(name).data) for name in self._outputs}


class Model:
    """What segment_anything's predictor asks of a model: prompt encoder, mask decoder and the last resize."""

    mask_threshold, image_format, device = 0.0, "RGB", torch.device("cpu")
    postprocess_masks = Sam.postprocess_masks

    def __init__(self, request: dict[str, Any]) -> None:
        runtime = OnnxRuntime if request["runtime"] == "onnxruntime" else OpenVino
        self._encoder: OnnxRuntime | OpenVino = runtime(request["encoder"], request["threads"], request["features"])
        self._decoder: OnnxRuntime | OpenVino = runtime(
            request["decoder"], request["threads"], ["low_res_masks", "iou_predictions"]
        )
        self._side = request["image_size"]
        self._mask = {
            "mask_input": np.zeros((1, 1, LOGITS_SIZE, LOGITS_SIZE), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        }
        self.image_encoder = SimpleNamespace(img_size=FRAME_SIZE)
        self.prompt_encoder = _PromptEncoder()
        self.group = GROUPS[-1]

    def encode(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Features of a photo, uint8 (H, W, 3), by their names."""
        return self._encoder.run({"images": image_to_pixels(image, self._side)[None]})

    def mask_decoder(
        self,
        image_embeddings: dict[str, np.ndarray],
        image_pe: None,
        sparse_prompt_embeddings: tuple[np.ndarray, np.ndarray],
        dense_prompt_embeddings: None,
        multimask_output: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, 3, 256, 256) and predicted IoU (N, 3) of clicks."""
        points, labels = sparse_prompt_embeddings
        parts = []
        for start in range(0, len(points), self.group):
            part = slice(start, start + self.group)
            feed = {**image_embeddings, **self._mask, "point_coords": points[part], "point_labels": labels[part]}
            parts.append(self._decoder.run(feed))
        logits, iou = (np.concatenate([x[name] for x in parts]) for name in ("low_res_masks", "iou_predictions"))
        return torch.from_numpy(logits), torch.from_numpy(iou)

    def choose_group(self, image: np.ndarray) -> None:
        """Finds how many prompts at a time this runtime decodes fastest."""
        features = self.encode(image)
        points = np.full((GROUPS[-1], 2, 2), FRAME_SIZE / 3, np.float32)
        labels = np.tile(np.array([1, PADDING], np.float32), (GROUPS[-1], 1))
        seconds = {}
        for self.group in GROUPS:
            for _ in range(2):  # the first call with a new shape also plans for it
                start = time.perf_counter()
                self.mask_decoder(features, None, (points, labels), None, True)
                seconds[self.group] = time.perf_counter() - start
        self.group = min(seconds, key=seconds.__getitem__)


class _PromptEncoder:
    """Passes clicks on as they are, with SAM's padding point: the decoder's file has the prompt encoder in it."""

    def __call__(self, points: Any, boxes: None, masks: None) -> tuple[tuple[np.ndarray, np.ndarray], None]:
        coords, labels = (np.asarray(x, np.float32) for x in points)
        padding = np.zeros((len(coords), 1, 2), np.float32)
        none = np.full((len(labels), 1), PADDING, np.float32)
        return (np.concatenate([coords, padding], 1), np.concatenate([labels, none], 1)), None

    def get_dense_pe(self) -> None:
        return None


class Predictor(SamPredictor):  # type: ignore[misc, unused-ignore]
    """Resizes photos at once to what the model sees."""

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        self.reset_image()
        self.original_size, self.input_size = image.shape[:2], fitted_size(image.shape[:2])
        self.features = self.model.encode(image)
        self.is_image_set = True


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        torch.set_num_threads(request["threads"])
        self.image = inputs["image"]
        model = Model(request)
        model.choose_group(self.image)
        print(f"{request['runtime']}: {model.group} prompts at a time", file=sys.stderr)
        self.group = model.group
        # the form of masks that costs it least: the others are made from it
        self.generator = SamAutomaticMaskGenerator(model, **request["settings"], output_mode="uncompressed_rle")
        self.generator.predictor = Predictor(model)
        self.records: list[dict[str, Any]] = []

    def run(self) -> None:
        self.records = self.generator.generate(self.image)

    def outputs(self) -> list[np.ndarray]:
        return [*Records.of_segment_anything(self.records).arrays(), np.array([self.group])]
