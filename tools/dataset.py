"""Load Fashion-MNIST before the tests: from disk, from its hosts, or as Debian's package."""

import os
import sys

from tools.system_packages import install
from utils import data


def main() -> None:
    """Load the four files, or end with one sentence that says what to do."""
    source = data.FashionMNIST.source
    try:
        for name in source.files:
            data.read(source, name)
    except data.DatasetError as error:
        # The package cannot help where it is installed already, or where another folder has been asked for.
        if not os.environ.get(source.variable) and source.debian and not source.debian.exists():
            install(["Fashion-MNIST"])
            if source.debian.exists():
                return main()
        sys.exit(str(error))


if __name__ == "__main__":
    main()
