"""The rendered book as one archive to read without a network; `make html.zip` runs this."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

FOLDER = "densenet-course"


def bundle(html: Path, archive: Path) -> None:
    """Every file of the book but Sphinx's own notes; the same book makes the same archive, byte for byte."""
    with ZipFile(archive, "w") as opened:
        for path in sorted(html.rglob("[!.]*")):
            if path.is_file():
                # ZipInfo's time is the first that an archive can hold.
                entry = ZipInfo(f"{FOLDER}/{path.relative_to(html).as_posix()}")
                entry.external_attr = 0o644 << 16
                opened.writestr(entry, path.read_bytes(), compress_type=ZIP_DEFLATED)


if __name__ == "__main__":
    archive = Path("_build/html.zip")
    bundle(Path("_build/html"), archive)
    print(f"{archive.resolve()}, {archive.stat().st_size / 1e6:.0f} MB")
