"""What pyproject.toml cannot say: two folders of the repository become part of the installed package."""

from setuptools import find_packages, setup

SHIPPED = ("checkpoints", "examples")

setup(
    packages=[*find_packages(include=["melformer*"]), *(f"melformer.{name}" for name in SHIPPED)],
    package_dir={f"melformer.{name}": name for name in SHIPPED},
)
