"""Build metadata of skmoe; the version is read from the source, not imported."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read_version():
    """Return ``__version__`` of skmoe/__init__.py without importing the package."""
    source = (HERE / "skmoe" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r"^__version__ = \"([^\"]+)\"", source, re.MULTILINE)
    if found is None:
        raise RuntimeError('skmoe/__init__.py must hold a line __version__ = "..."')
    return found.group(1)


def read_long_description():
    """Return the text of README.md, which a bare checkout may not have yet."""
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


PLOT = ["matplotlib>=3.6"]
DASK = ["dask[array,dataframe,distributed]>=2024.3"]
PARQUET = ["pyarrow>=14"]
EXPLAIN = ["shap>=0.46"]
SKOPS = ["skops>=0.11"]
PROGRESS = ["tqdm>=4.60"]
MAPIE = ["mapie>=1.0"]
# Only tests and examples use these.
OTHERS = ["polars>=1.0", "optuna>=3.5"]
# Later protobuf takes no booleans for integers, which the converters of boosted trees give.
ONNX = ["skl2onnx>=1.18", "onnxruntime>=1.17", "protobuf<7"]

setup(
    name="skmoe",
    version=read_version(),
    description="Mixture-of-experts regression and classification as scikit-learn estimators",
    long_description=read_long_description(),
    long_description_content_type="text/markdown",
    author="skmoe developers",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    packages=find_packages(include=["skmoe", "skmoe.*"]),
    package_data={
        "skmoe": ["py.typed"],
        "skmoe.datasets": ["data/*.csv.gz", "data/meta.json", "descr/*.rst"],
    },
    include_package_data=False,
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "scikit-learn>=1.6",
        "numpy>=1.24",
        "scipy>=1.10",
        "numba>=0.58",
        "pandas>=2.0",
    ],
    extras_require={
        "plot": PLOT,
        "dask": DASK,
        "parquet": PARQUET,
        "onnx": ONNX,
        "explain": EXPLAIN,
        "skops": SKOPS,
        "progress": PROGRESS,
        "mapie": MAPIE,
        "gpu": ["cupy-cuda12x>=13.0"],
        "test": [
            "pytest>=7.4",
            "pytest-xdist>=3.3",
            "hypothesis>=6.80",
            "numpydoc>=1.6",
            "threadpoolctl>=3.1",
            "ruff>=0.5",
            "mypy>=1.10",
            *PLOT,
        ],
        "docs": [
            "sphinx>=7.0",
            "pydata-sphinx-theme>=0.15",
            "sphinx-gallery>=0.15",
            "sphinx-design>=0.5",
            "sphinx-mathjax-offline>=0.0.2",
            "myst-parser>=2.0",
            "numpydoc>=1.6",
            *PLOT,
        ],
        "bench": ["threadpoolctl>=3.1", *PLOT],
        # Without gpu, which needs a CUDA device.
        "all": [
            *PLOT,
            *DASK,
            *PARQUET,
            *ONNX,
            *EXPLAIN,
            *SKOPS,
            *MAPIE,
            *PROGRESS,
            *OTHERS,
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
