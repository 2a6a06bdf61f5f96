"""Links to terms of the glossary: each shows its definition on hover and focus, and is an entry of the index."""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

LINK = re.compile(r'(?<=<a class="reference internal" )(?=href="[^"]*glossary\.html#(term-[^"]+)")')


class TermIndex(SphinxTransform):
    """Makes each link to a term an entry of the index, under the term, by the title of its page."""

    default_priority = 840  # before the entries of the index are collected

    def apply(self) -> None:
        for link in list(self.document.findall(addnodes.pending_xref)):
            if link["reftype"] == "term":
                page = self.document.next_node(nodes.title).astext()
                place = nodes.target("", "", ids=[f"index-{self.env.new_serialno('index')}"])
                entry = addnodes.index(entries=[("single", f"{link['reftarget']}; {page}", place["ids"][0], "", None)])
                link.parent.insert(link.parent.index(link), [entry, place])


def add_definitions(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give each link the first sentence of its definition; course.css shows it."""
    glossary = app.env.get_doctree("book/glossary")
    definitions = {
        item.next_node(nodes.term)["ids"][0]: item.next_node(nodes.paragraph).astext().partition(". ")[0].rstrip(".")
        for item in glossary.findall(nodes.definition_list_item)
    }
    body = context.get("body", "")
    context["body"] = LINK.sub(lambda link: f'data-definition="{escape(definitions[link[1]])}." ', body)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(TermIndex)
    app.connect("html-page-context", add_definitions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
