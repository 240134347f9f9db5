"""How colcon installs the package (build type ament_python)."""

from setuptools import setup

setup(
    name="evsam_ros",
    version="0.1.0",
    packages=["evsam_ros"],
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/evsam_ros"]),
        ("share/evsam_ros", ["package.xml"]),
        ("share/evsam_ros/launch", ["launch/evsam.launch.py"]),
        ("share/evsam_ros/config", ["config/evsam.yaml"]),
    ],
    install_requires=["setuptools", "numpy", "evsam"],
    zip_safe=True,
    maintainer="The evsam authors",
    maintainer_email="evsam@example.org",
    description="Masks of the objects in a camera's images, from boxes, from points or followed from frame to frame.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["evsam_node = evsam_ros.node:main"]},
)
