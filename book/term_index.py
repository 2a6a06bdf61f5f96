"""Each link to a term of the glossary is an entry of the index, which so leads to the places where the term is used."""

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform


class TermIndex(SphinxTransform):
    default_priority = 840  # before the entries of the index are collected

    def apply(self) -> None:
        for link in list(self.document.findall(addnodes.pending_xref)):
            if link["reftype"] == "term":
                place = nodes.target("", "", ids=[f"index-{self.env.new_serialno('index')}"])
                entry = addnodes.index(entries=[("single", link["reftarget"], place["ids"][0], "", None)])
                link.parent.insert(link.parent.index(link), [entry, place])


def setup(app) -> dict[str, bool]:
    app.add_transform(TermIndex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
