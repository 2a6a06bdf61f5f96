"""The prose of the rendered pages: no repeated word, no cliché; the check finds planted ones."""

import json
import subprocess
import sys

from bs4 import BeautifulSoup


def badly_said(folder):
    """What proselint says of the files in a folder, a line a remark."""
    # It takes multiply-adds for an adverb. The quotes that Sphinx makes curly are not asked for in code.
    off = {"misc.phrasal_adjectives.ly": False, "typography.symbols.curly_quotes": False}
    config = folder.with_suffix(".json")
    config.write_text(json.dumps({"checks": off}))
    command = [sys.executable, "-m", "proselint", "check", "--config", config, folder]
    return subprocess.run(command, capture_output=True, text=True).stdout


def sentences(page):
    """A page's paragraphs and captions without code and formulas, a mark after each: they do not run on."""
    article = BeautifulSoup(page, "html.parser").select_one("article.bd-article")
    for other in article.select("pre, code, .math, table, .citation"):
        other.replace_with("…")
    texts = [" ".join(text.get_text().split()) for text in article.select("p, figcaption, dd")]
    return "\n\n".join(f"{text} ∎" for text in texts)


def test_prose_repeats_no_word_and_has_no_cliche(html, all_pages, tmp_path):
    for page in all_pages:
        (tmp_path / f"{page.replace('/', '-')}.md").write_text(sentences((html / f"{page}.html").read_text()))
    assert not badly_said(tmp_path)


def test_bad_prose_is_found(tmp_path):
    (tmp_path / "page.md").write_text("A block block grows. At the end of the day, that is very large.")
    remarks = badly_said(tmp_path)
    assert all(kind in remarks for kind in ("lexical_illusions", "cliches", "weasel_words")), remarks
