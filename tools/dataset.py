"""Get the data set before the tests: from disk, from its hosts, or as Debian's package."""

import os
import shutil
import subprocess
import sys

from utils.data import SHA256, DatasetError, load


def load_all() -> None:
    for name in SHA256:
        load(name)


if __name__ == "__main__":
    try:
        load_all()
    except DatasetError as error:
        if not shutil.which("apt-get") or os.geteuid() != 0:
            sys.exit(str(error))
        print(f"{error}\nTrying Debian's package.", flush=True)
        for command in ("update", "install -y dataset-fashion-mnist"):
            subprocess.run(["apt-get", "-qq", *command.split()], check=True)
        load_all()
