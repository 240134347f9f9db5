"""Where a robot's gripper has to go: the mask of an object, and the depth under it, as points in the camera's space.

    python examples/robot_arm.py
    python examples/robot_arm.py --color color.png --depth depth.png --intrinsics 615 615 320 240 --box 200 150 420 300

The depth is a PNG of 16 bits, in millimetres and aligned with the colours, 0 where nothing was measured, as RealSense
and ROS write it. Without files, a scene is made: a block on a table, seen from above.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import evsam


class Intrinsics(NamedTuple):
    """Of a pinhole camera without distortion, in pixels; the middle of the upper left pixel is (0, 0)."""

    fx: float
    fy: float
    cx: float
    cy: float


class Grasp(NamedTuple):
    """An object in the camera's space, x right, y down, z away from the camera, in metres.

    Attributes:
        centroid: (3,), the mean of its points.
        axes: (3, 3), a row for each of its principal axes, the longest first.
        extent: (3,), its size along them.
    """

    centroid: np.ndarray
    axes: np.ndarray
    extent: np.ndarray


def segment_points(mask: np.ndarray, depth: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """The points of an object.

    Args:
        mask: bool (H, W).
        depth: (H, W), metres along the camera's axis; 0 or NaN where nothing was measured.
        camera: what both were taken with.

    Returns:
        float64 (N, 3). What lies far in front of the object or behind it is left out: along outlines, depth cameras mix
        the object with what is behind, and a mask may be a pixel too large.
    """
    v, u = np.nonzero(mask & (depth > 0))
    z = depth[v, u].astype(float)
    if z.size:
        middle = np.median(z)
        near = np.abs(z - middle) <= 0.01 + 5 * np.median(np.abs(z - middle))
        u, v, z = u[near], v[near], z[near]
    return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], 1)


def measure(points: np.ndarray) -> Grasp:
    """Centroid, principal axes and extent of points (N, 3), N at least 3."""
    centroid = points.mean(0)
    _, vectors = np.linalg.eigh(np.cov((points - centroid).T))
    axes = vectors.T[::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    axes = axes * np.sign(largest)  # an axis has two directions: take the one with the larger part above 0
    return Grasp(centroid, axes, np.ptp((points - centroid) @ axes.T, axis=0))


def made_scene(camera: Intrinsics, size: tuple[int, int] = (240, 320)) -> tuple[np.ndarray, np.ndarray]:
    """A block of 20 x 6 cm, turned by 30 degrees, whose top is 0.8 m below the camera, on a table at 0.86 m.

    Returns:
        Colours, uint8 (H, W, 3), and depth, float64 (H, W).
    """
    v, u = np.mgrid[: size[0], : size[1]]
    x, y = (u - camera.cx) / camera.fx * 0.8 - 0.05, (v - camera.cy) / camera.fy * 0.8 + 0.02
    angle = np.radians(30)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    block = (np.abs(along) <= 0.1) & (np.abs(across) <= 0.03)
    color = np.where(block[..., None], (200, 50, 40), (120, 125, 120)).astype(np.uint8)
    return color, np.where(block, 0.8, 0.86)


def main() -> None:
    """The whole program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--color", type=Path)
    parser.add_argument("--depth", type=Path)
    parser.add_argument("--intrinsics", nargs=4, type=float, default=(300, 300, 159.5, 119.5), help="fx fy cx cy")
    parser.add_argument("--box", nargs=4, type=float, default=(130, 65, 228, 158), help="x0 y0 x1 y1 around the object")
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    if (arguments.color is None) != (arguments.depth is None):
        parser.error("give both --color and --depth, or neither")

    camera = Intrinsics(*arguments.intrinsics)
    if arguments.color is None:
        color, depth = made_scene(camera)
    else:
        color = np.asarray(Image.open(arguments.color).convert("RGB"))
        depth = np.asarray(Image.open(arguments.depth)) / 1000
        if depth.shape != color.shape[:2]:
            sys.exit(f"robot_arm.py: --depth: expected {color.shape[:2]} as the colours have, got {depth.shape}")

    sam = evsam.load(arguments.model)
    mask = sam.predict(color, box=arguments.box).best()[0]
    points = segment_points(mask, depth, camera)
    if len(points) < 3:
        sys.exit(f"robot_arm.py: expected an object with measured depth, got {len(points)} points")
    grasp = measure(points)

    def numbers(values: np.ndarray) -> str:
        return " ".join(f"{value:.3f}" for value in values + 0.0)

    print(f"{len(points)} points")
    print(f"centroid {numbers(grasp.centroid)} m")
    print(f"extent {numbers(grasp.extent)} m")
    print(f"long axis {numbers(grasp.axes[0])}")
    print(f"grasp axis {numbers(grasp.axes[1])}")
    print(f"close the fingers along the grasp axis, opened to more than {grasp.extent[1]:.3f} m")


if __name__ == "__main__":
    try:
        main()
    except (evsam.EvsamError, OSError) as error:  # says which argument was wrong, and how
        sys.exit(f"robot_arm.py: {error}")
