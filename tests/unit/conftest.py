"""What every unit test starts from: MXNet's NumPy interface and a seed, without `setup`, which may install MXNet."""

import mxnet as mx
import pytest
from mxnet import npx


@pytest.fixture(autouse=True)
def numpy_interface():
    npx.set_np()
    mx.random.seed(1)
