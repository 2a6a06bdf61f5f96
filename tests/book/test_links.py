"""`make links` finds an external link of the book that leads nowhere."""

import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_broken_external_link_is_named_with_its_page_and_a_working_one_is_not(tmp_path):
    for name in ("_config.yml", "book", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", ".", "--quiet", "--builder", "linkcheck"]
    with ThreadingHTTPServer(("localhost", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://localhost:{server.server_port}"
        (tmp_path / "page.md").write_text(f"# Links\n\n[there]({host}/page.md) and [gone]({host}/gone.html)\n")
        linkcheck = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        server.shutdown()
    assert linkcheck.returncode == 1
    broken = [line for line in linkcheck.stderr.splitlines() if "broken link" in line]
    assert len(broken) == 1 and "page.md:3" in broken[0] and f"{host}/gone.html" in broken[0], linkcheck.stderr
