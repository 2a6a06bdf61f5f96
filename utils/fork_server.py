"""What the fork server of `peak_memory` imports: the one module whose import does work, for want of another hook."""

from utils.compatibility import make_mxnet_importable

make_mxnet_importable()

import utils.peak  # noqa: E402, F401
