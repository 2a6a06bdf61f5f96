"""What the processes of one training share: MXNet's store, behind which the servers stand (chapter 17)."""

import os
import sys
import traceback
from types import TracebackType
from typing import Any

import mxnet as mx
import numpy
from mxnet import np, npx
from mxnet.kvstore import KVStoreBase

# `gluon.Trainer` numbers the parameters from 0 on; from here on are the numbers of everything else.
FIRST_KEY = 1_000_000


class Store(KVStoreBase):
    """MXNet's key-value store as `mx.kv.create(kind)` makes it, for `gluon.Trainer` and for what workers add up.

    Workers that `python -m utils.launch` started each make one. `rank` counts them from 0. From then on a worker that
    fails ends at once: MXNet would have it wait, at the end of Python, for workers that wait for it.
    """

    def __init__(self, kind: str = "dist_sync", compression: dict[str, object] | None = None) -> None:
        """With `compression`, such as `{"type": "2bit", "threshold": 0.5}`, what is pushed is compressed so.

        Raises `ValueError` where no launcher has set the variables that a distributed store needs.
        """
        if kind.startswith("dist") and "DMLC_PS_ROOT_URI" not in os.environ:
            raise ValueError("There is no server to connect to: start this program with `python -m utils.launch`.")
        sys.excepthook = leave
        self.kv = mx.kv.create(kind)
        self.compression = compression
        if compression:
            self.kv.set_gradient_compression(compression)
        self.keys: dict[int, int] = {}

    @property
    def type(self) -> str:
        return self.kv.type

    @property
    def rank(self) -> int:
        return self.kv.rank

    @property
    def num_workers(self) -> int:
        return self.kv.num_workers

    def is_capable(self, capability: str) -> bool:
        return self.kv.is_capable(capability)

    def set_optimizer(self, optimizer: mx.optimizer.Optimizer) -> None:
        self.kv.set_optimizer(optimizer)

    def broadcast(self, key: int, value: Any, out: Any, priority: int = 0) -> None:
        """Give every worker the value that worker 0 has under a new key."""
        # A copy, for a weight that a convolution has used may be in oneDNN's order of channels, which cannot be sent.
        self.kv.init(key, np.array(value.asnumpy()))
        self.kv.pull(key, out=out, priority=priority)
        # A sum that is asked for under the same key might overtake the value, and be taken for it.
        npx.waitall()

    def pushpull(self, key: int, value: Any, out: Any = None, priority: int = 0) -> None:
        """Add up what all workers have under a key, and give each the sum, or what the servers make of it."""
        if not self.compression:
            self.kv.pushpull(key, value, out=out, priority=priority)
            return
        # In one message, MXNet compresses nothing.
        self.kv.push(key, value, priority=priority)
        self.kv.pull(key, out=value if out is None else out, priority=priority)

    def total(self, numbers: numpy.ndarray) -> numpy.ndarray:
        """The sum of what all workers call this with: arrays of one shape, which are added up as 32-bit floats.

        Raises `ValueError` if the store compresses.
        """
        if self.compression:
            raise ValueError("This store compresses what is pushed, which spoils sums: make one without compression.")
        here = np.array(numbers.ravel(), dtype="float32")
        if here.size not in self.keys:
            self.keys[here.size] = FIRST_KEY + len(self.keys)
            self.broadcast(self.keys[here.size], np.zeros_like(here), out=np.zeros_like(here))
        self.pushpull(self.keys[here.size], here, out=here)
        return here.asnumpy().reshape(numbers.shape)

    def from_first(self, content: bytes) -> bytes:
        """What worker 0 calls this with; what the others do is not looked at."""
        is_first = self.rank == 0
        # A 32-bit float holds no integer above 2**24 for sure.
        high, low = self.total(numpy.array(divmod(len(content), 4096)) * is_first)
        mine = content if is_first else bytes(4096 * int(high) + int(low))
        return self.total(numpy.frombuffer(mine, "uint8")).astype("uint8").tobytes() if mine else b""


def leave(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what went wrong, as Python does, and end the process without any farewell."""
    traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
