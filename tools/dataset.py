"""Load Fashion-MNIST before the tests: from disk, from its hosts, or as Debian's package."""

import os
import sys

from tools.system_packages import install
from utils import data


def main() -> None:
    """Load the four files, or end with one sentence that says what to do."""
    try:
        for name in data.PUBLISHED:
            data.load(name)
    except data.DatasetError as error:
        # The package cannot help where it is installed already, or where another folder has been asked for.
        if not os.environ.get("FASHION_MNIST") and not data.DEBIAN.exists():
            install(["Fashion-MNIST"])
            if data.DEBIAN.exists():
                return main()
        sys.exit(str(error))


if __name__ == "__main__":
    main()
