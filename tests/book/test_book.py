"""The rendered book: every page is there, every link leads somewhere, every figure and exercise is whole."""

import json
import re
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tools.setup_cell import repository_address
from tools.status import STATUS, status_table

UNRESOLVED = re.compile(
    r"\{(glue|ref|numref|cite|doc|eq|term|exercise|download)\b[^}]*\}|Traceback \(most recent call last\)"
)
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "iframe": "src", "object": "data"}


@cache
def parse(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


@cache
def anchors(path: Path) -> set[str]:
    return {element[key] for element in parse(path).find_all(True) for key in ("id", "name") if element.get(key)}


@pytest.fixture
def soup(html, page):
    path = html / f"{page}.html"
    assert path.exists(), f"{page} of _toc.yml was not rendered"
    return parse(path)


@pytest.fixture
def article(soup):
    return soup.select_one("article.bd-article")


@pytest.fixture
def chapter_article(html, chapter_page):
    return parse(html / f"{chapter_page}.html").select_one("article.bd-article")


@pytest.fixture
def root(all_pages):
    return all_pages[0]


def target(source: Path, link: str) -> Path:
    """The file that a relative link on the page `source` leads to."""
    path = unquote(urlsplit(link).path)
    return (source.parent / path).resolve() if path else source


def inside(link: str) -> bool:
    parts = urlsplit(link)
    return not parts.scheme and not parts.netloc


def test_every_page_is_reachable_from_the_navigation_of_the_first(html, root, page):
    first = html / f"{root}.html"
    links = {target(first, link["href"]) for link in parse(first).select("nav.bd-links a[href]")} | {first.resolve()}
    assert (html / f"{page}.html").resolve() in links, f"the navigation of {root} does not name {page}"


def test_address_of_the_book_leads_to_its_first_page(html, root):
    refresh = parse(html / "index.html").find("meta", attrs={"http-equiv": "Refresh"})
    assert refresh["content"].endswith(f"url={root}.html")


def test_every_link_anchor_and_image_resolves(html, all_pages, page, soup):
    source = (html / f"{page}.html").resolve()
    links = [element[key] for name, key in LINKS.items() for element in soup.find_all(name) if element.get(key)]
    # The navigation of each page has a link to all.
    assert len(links) > len(all_pages)
    for link in filter(inside, links):
        path, anchor = target(source, link), unquote(urlsplit(link).fragment)
        assert path.is_file(), f"{page} links to {link}, which is no file"
        is_setting = "=" in anchor and parse(path).find(["densenet-explorer", "densenet-practice"])
        if anchor and path.suffix == ".html" and not is_setting:
            assert anchor in anchors(path), f"{page} links to {link}, but {path.name} has no #{anchor}"


def test_every_image_has_alt_text(article):
    for image in article.find_all("img"):
        # Without alt text, Sphinx writes the name of the file instead.
        alt = image.get("alt", "")
        assert re.search(r"\w \w", alt), f"{image.get('src')} has no alt text that says anything: {alt!r}"


def test_nothing_is_left_unresolved(article):
    faults = article.select(".system-message, .problematic, .output.traceback, .bibtex-citation:not(:has(a))")
    faults += [reference for reference in article.select(".xref") if not reference.find_parent("a")]
    assert not faults, f"the page shows an error or an unresolved reference: {faults[0].get_text()!r}"
    in_code = ("pre", "code")
    prose = [text for text in article.strings if text.find_parent(class_="output") or not text.find_parent(in_code)]
    found = UNRESOLVED.search("".join(prose))
    assert not found, f"the page says {found[0]!r}"


def test_headings_nest(article):
    levels = [int(heading.name[1]) for heading in article.find_all(re.compile(r"h[1-6]"))]
    assert levels[:1] == [1] and levels.count(1) == 1, f"the page does not begin with its only h1: {levels}"
    for above, below in pairwise(levels):
        assert below <= above + 1, f"h{below} follows h{above}"


def test_every_image_of_a_chapter_has_a_caption(chapter_article):
    for image in chapter_article.find_all("img"):
        figure = image.find_parent("figure")
        caption = figure and figure.select_one("figcaption .caption-text")
        assert caption and caption.get_text(strip=True), f"{image['src']} has no caption"


def test_every_exercise_has_a_solution_in_a_dropdown(chapter_article):
    exercises = {exercise["id"] for exercise in chapter_article.select(".exercise")}
    solutions = chapter_article.select(".solution")
    solved = {link["href"].lstrip("#") for link in chapter_article.select(".solution > .admonition-title a[href]")}
    assert exercises, "the chapter has no exercise"
    assert exercises == solved, f"an exercise without a solution, or the other way round: {exercises ^ solved}"
    for solution in solutions:
        assert "dropdown" in solution["class"], f"{solution['id']} is not in a dropdown"


def test_every_question_of_a_quiz_has_one_right_answer(chapter_article):
    questions = defaultdict(list)
    for answer in chapter_article.select("#quiz details"):
        answer.summary.extract()
        questions[answer["name"]].append(answer.get_text().split(maxsplit=1)[0])
    assert len(questions) >= 3, "the chapter's quiz has fewer than three questions"
    for name, replies in questions.items():
        assert len(replies) >= 3 and sorted(set(replies)) == ["No.", "Right."] and replies.count("Right.") == 1, name


def test_every_chapter_asks_its_reader_to_predict(chapter_article):
    boxes = chapter_article.select(".predict")
    assert len(boxes) >= 3, "the chapter asks for fewer than three predictions"
    for box in boxes:
        answer = box.select_one("details:not([open])")
        assert answer and len(answer.get_text(strip=True)) > 20, f"nothing to compare with: {box.get_text()!r}"


def test_chapter_is_rendered_from_its_notebook(html, chapter_page):
    sources = {path.suffix for path in (html / "_sources").glob(f"{chapter_page}.*")}
    assert sources == {".ipynb"}, f"{chapter_page} was rendered from {sources}: see exclude_patterns in _config.yml"


def test_book_has_no_page_beside_those_of_its_contents(html, all_pages):
    index = (html / "searchindex.js").read_text()
    rendered = json.loads(re.search(r'"docnames": (\[.*?\])', index)[1])
    assert sorted(rendered) == sorted(all_pages)


def test_status_page_says_what_the_notebooks_say():
    assert STATUS.read_text() == status_table(), "book/_generated/chapters.txt is stale: run `make notebooks`"


def test_every_chapter_opens_in_colab_on_binder_and_on_kaggle(html, chapter_page):
    links = {link["href"] for link in parse(html / f"{chapter_page}.html").select(".dropdown-launch-buttons a")}
    project = urlsplit(repository_address()).path
    assert {
        f"https://colab.research.google.com/github{project}/blob/main/{chapter_page}.ipynb",
        f"https://mybinder.org/v2/gh{project}/main?urlpath=lab/tree/{chapter_page}.ipynb",
        f"https://www.kaggle.com/kernels/welcome?src={repository_address()}/blob/main/{chapter_page}.ipynb",
    } == links


def test_every_page_describes_itself(html, all_pages, root):
    descriptions = []
    written = [page for page in all_pages if page != "genindex"]
    for page in written:
        soup = parse(html / f"{page}.html")
        meta = {tag["property"]: tag["content"] for tag in soup.select("meta[property^='og:']")}
        descriptions.append(meta["og:description"])
        # They are 200 characters of prose; a title alone is shorter than 50.
        assert len(meta["og:description"]) > 50, f"{page}: {meta['og:description']!r}"
        assert soup.select_one("meta[name=description]")["content"] == meta["og:description"]
        picture = meta["og:image"].partition("_static/")[2]
        assert (html / "_static" / picture).is_file()
    assert len(set(descriptions)) == len(written), "two pages have the same description"


def test_index_leads_to_each_term_of_the_glossary_and_to_where_it_is_used(html):
    terms = {term["id"]: term.find(string=True).strip() for term in parse(html / "book" / "glossary.html").select("dt")}
    entries = parse(html / "genindex.html").select("table.genindextable > tr > td > ul > li")
    links = {entry.a.get_text(): [link["href"] for link in entry.select("a")] for entry in entries}
    # There are 49; no link would be looked for to one that is lost.
    assert len(terms) > 30
    for anchor, term in terms.items():
        definition, *uses = links[term]
        assert definition == f"book/glossary.html#{anchor}"
        assert any(link.startswith("chapters/") for link in uses), f"no chapter uses {term}"
        for link in uses:
            assert unquote(urlsplit(link).fragment) in anchors(target(html / "genindex.html", link))


def test_links_to_terms_carry_their_definitions(html, chapter_article):
    glossary = parse(html / "book" / "glossary.html")
    links = chapter_article.select("a[href*='glossary.html#']")
    # As many as the chapters with the fewest have.
    assert len(links) >= 8
    for link in links:
        definition = glossary.find(id=urlsplit(link["href"]).fragment).find_next_sibling("dd").get_text(strip=True)
        shown = link["data-definition"].rstrip(".")
        # Any definition starts with an empty one.
        assert len(shown) > 20 and definition.startswith(shown)


def test_icons_are_credited_with_a_link(html):
    assert parse(html / "book" / "how_to_use.html").select("article a[href='https://fontawesome.com']")
