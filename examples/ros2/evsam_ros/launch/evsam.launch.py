"""Start the node: ``ros2 launch evsam_ros evsam.launch.py mode:=track image:=/camera/image_rect``."""

from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

TOPICS = {
    "image": ("image_rect", "images of the camera"),
    "detections": ("detections_output", "vision_msgs/Detection2DArray, prompts of mode:=segment"),
    "mask": ("mask", "mono8, a further prompt, where has_input_mask is true"),
    "binary_mask": ("binary_mask", "where there is any object"),
    "label_image": ("label_image", "which object is where"),
    "detection_array": ("detection_array", "boxes and scores of the masks"),
}
PARAMETERS = (
    "model", "engine", "device", "precision", "threads", "mode", "prompt_input_type", "has_input_mask",
    "max_batch_size", "orig_img_dims", "deadline", "image_transport", "interfaces",
)  # fmt: skip


def _node(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in (*TOPICS, *PARAMETERS)}
    image = (TOPICS["image"][0], given["image"])
    remappings = [image, *((f"{topic}/compressed", f"{value}/compressed") for topic, value in [image])]
    remappings += [(topic, given[name]) for name, (topic, _) in TOPICS.items() if name != "image"]
    overrides = {name: yaml.safe_load(given[name]) for name in PARAMETERS if given[name]}
    if "deadline" in overrides:
        overrides["deadline"] = float(overrides["deadline"])  # of 1, which ROS would take for an integer
    return [
        Node(
            package="evsam_ros",
            executable="evsam_node",
            name="evsam",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), overrides],
            remappings=remappings,
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """All arguments, and the node with those that were given."""
    file = str(Path(get_package_share_directory("evsam_ros")) / "config" / "evsam.yaml")
    return LaunchDescription(
        [
            DeclareLaunchArgument("params_file", default_value=file, description="parameters of the node"),
            DeclareLaunchArgument("namespace", default_value="", description="of the node and its topics"),
            *(
                DeclareLaunchArgument(name, default_value=topic, description=what)
                for name, (topic, what) in TOPICS.items()
            ),
            *(
                DeclareLaunchArgument(name, default_value="", description="a parameter; empty for that of params_file")
                for name in PARAMETERS
            ),
            OpaqueFunction(function=_node),
        ]
    )
