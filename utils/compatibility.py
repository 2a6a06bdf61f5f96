"""What lets MXNet 1.9.1 load today: on a newer NumPy, without `distutils`, with CUDA's libraries if it needs them."""

import ctypes
import os
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy

# In this order each library finds those it needs among the ones before it.
CUDA_LIBRARIES = (
    "libcudart.so.11.0",
    "libcublasLt.so.11",
    "libcublas.so.11",
    "libnvrtc-builtins.so.11.8",
    "libnvrtc.so.11.2",
    "libnvToolsExt.so.1",
    "libcufft.so.10",
    "libcurand.so.10",
    "libcusolver.so.11",
    "libnccl.so.2",
    "libcudnn.so.8",
    "libcudnn_ops_infer.so.8",
    "libcudnn_ops_train.so.8",
    "libcudnn_cnn_infer.so.8",
    "libcudnn_cnn_train.so.8",
    "libcudnn_adv_infer.so.8",
    "libcudnn_adv_train.so.8",
)


def mend_numpy() -> None:
    """Give NumPy back the names that MXNet reads and that it has dropped since version 1.23."""
    constants = {"Inf": numpy.inf, "PINF": numpy.inf, "NINF": -numpy.inf, "NAN": numpy.nan, "NaN": numpy.nan}
    types_and_zeros = {"bool": bool, "int": int, "PZERO": 0.0, "NZERO": -0.0}
    renamed = {"alltrue": "all", "sometrue": "any", "product": "prod", "round_": "round", "in1d": "isin"}
    functions = {old: getattr(numpy, new) for old, new in renamed.items()}
    functions |= {"trapz": getattr(numpy, "trapezoid", None), "msort": lambda a: numpy.sort(a, axis=0)}
    financial = dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate"), dropped)
    compat = getattr(numpy, "compat", types.SimpleNamespace())
    compat.basestring = str
    for name, value in (constants | types_and_zeros | functions | financial | {"compat": compat}).items():
        if name not in vars(numpy):
            setattr(numpy, name, value)
    if int(numpy.__version__.split(".")[0]) >= 2:
        # MXNet sends shapes to its C++ side as text, and NumPy 2 writes `np.int64(2)` for 2.
        as_before: Any = "1.25"
        numpy.set_printoptions(legacy=as_before)


def dropped(*arguments: object, **options: object) -> NoReturn:
    raise NotImplementedError("NumPy no longer has the financial functions: use the package numpy-financial.")


def mend_distutils() -> None:
    """Stand in for the two classes of Python's former `distutils` with which MXNet compares versions."""
    from packaging.version import Version

    package: Any = types.ModuleType("distutils")
    module: Any = types.ModuleType("distutils.version")
    package.version = module
    module.StrictVersion = module.LooseVersion = Version
    sys.modules["distutils"], sys.modules["distutils.version"] = package, module


def load_cuda(folder: Path) -> None:
    """Load the libraries that `mxnet-cu112` needs.

    By full path, from a folder that is not on `sys.path`: five of the files have the names of those
    that PyTorch and JAX bring for CUDA 12.
    """
    libraries = {path.name: path for path in folder.rglob("*.so*")}
    for name in CUDA_LIBRARIES:
        ctypes.CDLL(str(libraries[name]), mode=ctypes.RTLD_GLOBAL)


def make_mxnet_importable() -> None:
    """Do all of this, as far as this Python needs it; afterwards `import mxnet` works."""
    if find_spec("distutils") is None:
        mend_distutils()
    if tuple(map(int, numpy.__version__.split(".")[:2])) > (1, 23):
        mend_numpy()
    # Set by `setup`, for the processes that a notebook starts.
    if folder := os.environ.get("COURSE_CUDA_LIBRARIES"):
        load_cuda(Path(folder))
