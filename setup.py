"""Packages of the wheel: `models/` and `kernels/` stand at the top level, install in minidl."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["minidl", "minidl.*"]), "minidl.models", "minidl.kernels"],
    package_dir={"minidl": "minidl", "minidl.models": "models", "minidl.kernels": "kernels"},
    package_data={
        "minidl": ["py.typed"],
        "minidl.data": ["*.csv.gz"],
        "minidl.predict": ["*.txt"],
        "minidl.report": ["*.html"],
        "minidl.kernels": ["*.cu", "*.cuh", "*.md", "resources/instructions.csv"],
    },
)
