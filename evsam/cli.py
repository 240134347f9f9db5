"""The command line: ``evsam predict | bench | export | selftest | info | convert | download``.

Exit codes: 0 done, 1 it could not be done (one line on stderr says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from evsam.errors import EvsamError, WeightsError
from evsam.export import command

if TYPE_CHECKING:
    from PIL import Image

    from evsam.info import Info
    from evsam.results import Prediction

PRECISIONS = ("fp32", "fp16", "int8")

_EXAMPLES = """examples:
  evsam predict cat.jpg --box 40 30 300 260 -o cat_mask.png
  evsam predict cat.jpg --point 120 80 --negative-point 10 10 --json cat.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            arguments.run(arguments)
    except (EvsamError, OSError) as error:
        print("evsam: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _show_warning(message: Warning | str, *_: Any) -> None:
    """One line, as for errors; where in the code it came from says nothing here."""
    print("evsam: warning: " + " ".join(str(message).split()), file=sys.stderr)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from evsam.info import installed

        print(f"evsam {installed('evsam')}")
        parser.exit()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"expected 0 to 86400 seconds, got {text}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evsam",
        description="EfficientViT-SAM: masks for the objects in a photo.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="masks for boxes and points in a photo")
    predict.set_defaults(run=_predict, fail=predict.error)
    _add_predict_arguments(predict)

    bench = commands.add_parser("bench", help="how long a model takes on this machine")
    bench.set_defaults(run=_bench)
    bench.add_argument(
        "model", nargs="?", default="nano", help="variant, weights file or folder of evsam export (default: nano)"
    )
    bench.add_argument("--random", action="store_true", help="random weights of the variant: nothing is fetched")
    bench.add_argument("--engine", default="auto", help="see evsam info (default: the best that is installed)")
    bench.add_argument("--device", help="where the engine computes, for example cuda")
    bench.add_argument("--threads", type=int, help="upper limit of CPU threads")
    bench.add_argument("--precision", choices=PRECISIONS, help="of the engine (default: its own choice)")
    bench.add_argument("--seconds", type=_seconds, default=2.0, help="time for each measurement (default: 2)")
    bench.add_argument("--profile", action="store_true", help="also the time of every block of the model")

    export = commands.add_parser("export", help="write a model for another runtime: ONNX, TensorRT, Triton")
    export.set_defaults(run=command.run, fail=export.error)
    command.add_arguments(export)

    selftest = commands.add_parser("selftest", help="check the kernels of this build on this machine")
    selftest.set_defaults(run=_selftest)
    selftest.add_argument("--gpu", action="store_true", required=True, help="the CUDA kernels, on the current device")
    selftest.add_argument(
        "--variant",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only check the layers of these variants (default: all)",
    )
    selftest.add_argument("--quick", action="store_true", help="only small maps of odd sizes, none of the layers")
    selftest.add_argument("--time", action="store_true", help="also time the layers that passed, by CUDA events")
    selftest.add_argument("--json", type=Path, metavar="FILE", help="also write all that was found")

    info = commands.add_parser("info", help="variants, engines, CPU features and versions")
    info.set_defaults(run=_info)
    info.add_argument("--json", action="store_true", help="as JSON")

    convert = commands.add_parser("convert", help="turn a checkpoint or a training run into a safetensors file")
    convert.set_defaults(run=_convert)
    convert.add_argument("source", help="path of a .pt or .safetensors file, a variant, or a run's folder")
    convert.add_argument("destination", type=Path, help="path of the .safetensors file to write")
    convert.add_argument("--variant", help="the variant that the source is expected to hold")
    convert.add_argument(
        "--photos",
        type=command.whole(0),
        default=32,
        help="of a run: training photos to calibrate exports with (default: 32)",
    )
    convert.add_argument(
        "--mean-with", nargs="+", default=[], metavar="RUN", help="of a run: take the mean with the weights of others"
    )
    convert.add_argument("--dtype", choices=("float32", "float16"), help="how to store the tensors (default: float32)")

    download = commands.add_parser("download", help="fetch the weights of a variant")
    download.set_defaults(run=_download)
    download.add_argument("variant", help="nano, l0, l1, l2, xl0 or xl1")
    return parser


def _add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    def add_shape(name: str, coordinates: str, text: str) -> None:
        names = tuple(coordinates.split())
        parser.add_argument(name, nargs=len(names), type=float, action="append", metavar=names, default=[], help=text)

    parser.add_argument("photo", help="path of an image; its EXIF orientation is applied")
    add_shape("--box", "X0 Y0 X1 Y1", "a box around an object, in pixels of the photo; repeat it for several objects")
    add_shape("--point", "X Y", "a point on the object; repeated ones, with at most one box, describe one object")
    add_shape("--negative-point", "X Y", "a point that is not on the object")
    parser.add_argument(
        "--multimask",
        action=argparse.BooleanOptionalAction,
        help="three masks for each prompt instead of one; neither: three for a single point",
    )
    parser.add_argument(
        "--model", default="nano", help="variant, weights file or folder of evsam export (default: nano)"
    )
    parser.add_argument("--variant", help="the variant that the weights file is expected to hold")
    parser.add_argument("--engine", default="auto", help="see evsam info (default: the best that is installed)")
    parser.add_argument("--device", help="where the engine computes, for example cuda")
    parser.add_argument("--threads", type=int, help="upper limit of CPU threads")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the engine (default: its own choice)")
    parser.add_argument("-o", "--output", type=Path, metavar="IMAGE", help="write the photo with the masks drawn on it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the masks as COCO RLE, best first")


def _predict(arguments: argparse.Namespace) -> None:
    from evsam.images import read_image
    from evsam.sam import load

    points = arguments.point + arguments.negative_point
    labels = [1] * len(arguments.point) + [0] * len(arguments.negative_point)
    boxes = arguments.box
    if not (points or boxes):
        arguments.fail("give at least one --box or --point")
    if points and len(boxes) > 1:
        arguments.fail("points describe one object: give at most one --box with them")
    if not (arguments.output or arguments.json):
        arguments.fail("give -o IMAGE, --json FILE or both")
    _check_output(arguments)

    image = read_image(arguments.photo)  # before the model: a mistyped path should not take seconds to be told
    prompt: dict[str, Any] = {"points": points, "labels": labels} if points else {}
    if len(boxes) == 1:
        prompt["box"] = boxes[0]
    elif boxes:
        prompt["boxes"] = boxes
    with load(arguments.model, arguments.variant, **_engine_options(arguments)) as sam:
        result = sam.predict(image, multimask=arguments.multimask, **prompt)
        variant = sam.variant.name

    prompts = [{"points": points, "labels": labels} if points else {} for _ in result.masks]
    for entry, box in zip(prompts, boxes, strict=False):
        entry["box"] = box
    for number, (entry, mask, scores) in enumerate(zip(prompts, result.best(), result.scores, strict=True), 1):
        kinds = " and ".join(kind for kind in ("box", "points") if kind in entry)
        print(f"mask {number} ({kinds}): score {scores.max():.3f}, {mask.sum()} pixels, {mask.mean():.1%} of the photo")
    if arguments.output:
        _save_overlay(result.overlay(image), arguments.output)
        print(f"wrote {arguments.output}")
    if arguments.json:
        document = _document(arguments.photo, variant, prompts, result)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {arguments.json}")


def _engine_options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("engine", "threads", "device", "precision")}


def _save_overlay(picture: Image.Image, path: Path) -> None:
    try:
        picture.save(path)
    except ValueError as error:  # a format without RGB, such as BLP
        raise EvsamError(f"-o: expected a format that holds RGB, got {path} ({error})") from error


def _check_output(arguments: argparse.Namespace) -> None:
    from PIL import Image

    for path in filter(None, (arguments.output, arguments.json)):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: expected an existing folder to write to, got {path.parent}")
    if arguments.output:
        suffix = arguments.output.suffix.lower()
        if Image.registered_extensions().get(suffix) not in Image.SAVE:
            arguments.fail(f"-o: expected the name of an image file, such as masks.png, got {arguments.output}")


def _document(photo: str, variant: str, prompts: list[dict[str, Any]], result: Prediction) -> dict[str, Any]:
    """What ``--json`` writes; boxes are x, y, width and height, as COCO has them."""
    height, width = result.masks.shape[2:]
    predictions = []
    for entry, masks, scores in zip(prompts, result.masks, result.scores, strict=True):
        order = (-scores).argsort(kind="stable")
        predictions.append({"prompt": entry, "masks": [_mask_entry(masks[i], float(scores[i])) for i in order]})
    return {"image": photo, "height": height, "width": width, "variant": variant, "predictions": predictions}


def _mask_entry(mask: Any, score: float) -> dict[str, Any]:
    from evsam.boxes import bounding_box
    from evsam.rle import encode_rle

    left, top, right, bottom = bounding_box(mask)
    box = [left, top, right - left, bottom - top]
    return {"score": round(score, 6), "area": int(mask.sum()), "bbox": box, "segmentation": encode_rle(mask)}


def _bench(arguments: argparse.Namespace) -> None:
    from evsam.bench import profile_model, random_weights, time_model
    from evsam.sam import load

    source = random_weights(arguments.model) if arguments.random else arguments.model
    with load(source, **_engine_options(arguments)) as sam:
        print(f"{sam.variant.name}, engine {sam.engine.name} on {sam.device}, photo of 1280 x 720, milliseconds")
        print(f"{'':<18} {'median':>9} {'p10':>9} {'p90':>9} {'calls':>6}")
        for name, timing in time_model(sam, arguments.seconds).items():
            median, p10, p90 = (1e3 * seconds for seconds in (timing.median, timing.p10, timing.p90))
            print(f"{name:<18} {median:>9.2f} {p10:>9.2f} {p90:>9.2f} {timing.calls:>6}")
        if arguments.profile:
            blocks = profile_model(sam, arguments.seconds)
            width = max([5, *(len(block.name) for block in blocks)])
            print(f"\n{'block':<{width}} {'ms':>9} {'GFLOP/s':>9} {'% of roof':>10}")
            for block in blocks:
                print(f"{block.name:<{width}} {block.ms:>9.3f} {block.gflops:>9.1f} {block.percent:>10.1f}")
            print(f"{'sum':<{width}} {sum(block.ms for block in blocks):>9.3f}")


def _selftest(arguments: argparse.Namespace) -> None:
    from evsam.selftest.command import selftest_gpu

    found = selftest_gpu(arguments.variant, arguments.quick, arguments.time)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {arguments.json}")
    if found["failed"]:
        raise EvsamError(f"selftest: expected {len(found['checks'])} checks to pass, {found['failed']} failed")


def _info(arguments: argparse.Namespace) -> None:
    from evsam.info import collect

    info = collect()
    print(json.dumps(info, indent=1) if arguments.json else _describe(info))


def _describe(info: Info) -> str:
    lines = [f"evsam {info['evsam']}, Python {info['python']}, {info['platform']}", ""]
    lines.append("variant  input   params     MACs  weights")
    for variant in info["variants"]:
        size, params, macs = variant["image_size"], variant["parameters"] / 1e6, variant["encoder_macs"] / 1e9
        lines.append(f"{variant['name']:<8} {size:>5} {params:>6.1f} M {macs:>6.1f} G  {variant['weights']}")
    lines += ["", "engine       state"]
    for engine in info["engines"]:
        state = engine["summary"] if engine["available"] else f"not installed: {engine['install']}"
        lines.append(f"{engine['name']:<12} {state}")
    cpu = info["cpu"]
    features = " ".join(cpu["features"]) or "no vector extensions"
    lines += ["", f"CPU      {cpu['machine']}, {cpu['cpus']} usable, {features}", f"kernels  {cpu['isa']}", ""]
    cuda = info["cuda"]
    lines += [f"CUDA     {', '.join(cuda['devices']) or cuda['problem']}", f"kernels  {cuda['kernels']}", ""]
    lines.append("packages " + ", ".join(f"{name} {found}" for name, found in info["packages"].items() if found))
    if absent := [name for name, found in info["packages"].items() if not found]:
        lines.append(f"absent   {', '.join(absent)}")
    return "\n".join(lines)


def _convert(arguments: argparse.Namespace) -> None:
    from evsam.weights import convert

    if arguments.mean_with and not Path(arguments.source).is_dir():
        raise WeightsError(f"--mean-with: expected the folder of a run to convert, got {arguments.source}")
    if Path(arguments.source).is_dir():
        from evsam.training.convert import convert_run  # noqa: TID251 - the command line stands on everything

        weights = convert_run(
            arguments.source,
            arguments.destination,
            arguments.variant,
            arguments.dtype,
            arguments.photos,
            arguments.mean_with,
        )
    else:
        weights = convert(arguments.source, arguments.destination, arguments.variant, arguments.dtype)
    print(f"wrote {arguments.destination}: {weights.variant.name}, {len(weights.tensors)} tensors")


def _download(arguments: argparse.Namespace) -> None:
    from evsam.weights import download

    print(download(arguments.variant))
