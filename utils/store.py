"""What the processes of one training share: MXNet's store, behind which the servers stand (chapter 17)."""

import itertools
import os
import sys
import traceback
from types import TracebackType
from typing import Any

import mxnet as mx
import numpy
from mxnet import np, npx
from mxnet.kvstore import KVStoreBase

# By so much a bit that is sent exceeds the threshold, which MXNet reads from text, with a rounding of its own.
MARGIN = 1 + 1e-6


class Store(KVStoreBase):
    """MXNet's key-value store as `mx.kv.create(kind)` makes it, for `gluon.Trainer` and for what workers add up.

    Workers that `python -m utils.launch` started each make one, "dist_sync" or "dist_async", and only one: MXNet would
    have a second wait for servers that do not. `rank` counts the workers from 0. From then on a worker that fails ends
    at once: MXNet would have it wait, at the end of Python, for workers that wait for it.
    """

    is_made = False

    def __init__(self, kind: str = "dist_sync", compression: dict[str, Any] | None = None) -> None:
        """With `compression`, such as `{"type": "2bit", "threshold": 0.5}`, gradients are compressed so.

        Raises `ValueError` where no launcher has set the variables that a store needs, and for a second store.
        """
        if "DMLC_PS_ROOT_URI" not in os.environ:
            raise ValueError("There is no server to connect to: start this program with `python -m utils.launch`.")
        if Store.is_made:
            raise ValueError("This process has a store already, and cannot have two: use that one.")
        Store.is_made = True
        sys.excepthook = leave
        self.kv = mx.kv.create(kind)
        self.compression = compression
        if compression:
            self.kv.set_gradient_compression(compression)
        # What the servers call what has a key here: they keep for good what they were given under a number.
        self.server_keys: dict[object, int] = {}
        self.unused_keys = itertools.count()

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

    def broadcast(self, key: object, value: Any, out: Any, priority: int = 0) -> None:
        """Give every worker the value that worker 0 has under a key; what the key stood for before is over."""
        server_key = self.server_keys[key] = next(self.unused_keys)
        # A copy, for a weight that a convolution has used may be in oneDNN's order of channels, which cannot be sent.
        self.kv.init(server_key, np.array(value.asnumpy()))
        self.kv.pull(server_key, out=out, priority=priority)
        # A sum that is asked for under the same key might overtake the value, and be taken for it.
        npx.waitall()

    def pushpull(self, key: object, value: Any, out: Any = None, priority: int = 0) -> None:
        """Add up what all workers have under a key, and give each the sum, or what the servers make of it."""
        server_key = self.server_keys[key]
        if not self.compression:
            self.kv.pushpull(server_key, value, out=out, priority=priority)
            return
        # In one message, MXNet compresses nothing.
        self.kv.push(server_key, value, priority=priority)
        self.kv.pull(server_key, out=value if out is None else out, priority=priority)

    def total(self, numbers: numpy.ndarray) -> numpy.ndarray:
        """The sum of what all workers call this with: arrays of one shape, which are added up as 32-bit floats.

        It is exact with compression, too, but takes 128 bytes for each number and worker.
        """
        here = numpy.ascontiguousarray(numbers, "float32")
        if not self.compression:
            return self.added_up(here)
        # Compression leaves zero and the threshold as they are, so each worker sends its bits, in a row of its own.
        threshold = self.compression["threshold"]
        bits = numpy.zeros((self.num_workers, 32 * here.size), "float32")
        bits[self.rank] = numpy.unpackbits(here.view("uint8")) * (MARGIN * threshold)
        rows = numpy.packbits(self.added_up(bits) > threshold / 2, axis=1).view("float32")
        return rows.sum(axis=0).reshape(here.shape)

    def added_up(self, here: numpy.ndarray) -> numpy.ndarray:
        """What `pushpull` makes of an array, under the key that its shape is."""
        array = np.array(here, dtype="float32")
        if here.shape not in self.server_keys:
            self.broadcast(here.shape, np.zeros_like(array), out=np.zeros_like(array))
        self.pushpull(here.shape, array, out=array)
        return array.asnumpy()

    def from_first(self, content: bytes) -> bytes:
        """What worker 0 calls this with; what the others do is not looked at."""
        size = self.received(numpy.array([len(content)])).view("int64").item()
        padded = content.ljust(size + -size % 4, b"\0") if self.rank == 0 else bytes(size + -size % 4)
        return self.received(numpy.frombuffer(padded, "uint8")).tobytes()[:size] if size else b""

    def received(self, values: numpy.ndarray) -> numpy.ndarray:
        """The bits of worker 0's values, as 32-bit floats, which they need not be."""
        array = np.array(values.view("float32"))
        self.broadcast("content", array, out=array)
        return array.asnumpy()


def leave(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what went wrong, as Python does, and end the process without any farewell."""
    traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
