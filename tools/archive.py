"""The rendered book as one archive to read without a network; `make html.zip` runs this."""

import io
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from tools.files import exit_if_unwritten, write_whole

FOLDER = "densenet-course"
HTML, ARCHIVE = Path("_build/html"), Path("_build/html.zip")


def write_archive(html: Path, archive: Path) -> None:
    """Pack every file of the folder `html` but Sphinx's own notes; the same book makes the same archive, byte for byte.

    Raises `OSError`, and leaves an older archive as it was, where the archive cannot be written.
    """
    content = io.BytesIO()
    with ZipFile(content, "w") as zip_file:
        for path in sorted(html.rglob("[!.]*")):
            if path.is_file():
                # ZipInfo's time is the first that an archive can hold.
                entry = ZipInfo(f"{FOLDER}/{path.relative_to(html).as_posix()}")
                entry.external_attr = 0o644 << 16
                zip_file.writestr(entry, path.read_bytes(), compress_type=ZIP_DEFLATED)
    write_whole(archive, content.getvalue())


def main() -> None:
    with exit_if_unwritten():
        write_archive(HTML, ARCHIVE)
    print(f"{ARCHIVE.resolve()}, {ARCHIVE.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
