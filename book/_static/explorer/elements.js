// What the elements of the course's pages are made of.
"use strict";

const DenseNetElements = (() => {
  const grouped = (number) => number.toLocaleString("en-US");
  const inWords = (list) => list.join(", ").replace(/, ([^,]*)$/, " and $1");

  function append(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const html = (tag, attributes, ...children) => append(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    append(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const scrolling = (label, ...children) =>
    html("div", { class: "explorer-scroll", role: "region", tabindex: 0, "aria-label": label }, ...children);

  // Before the page is parsed, the fallback inside the element could not be replaced: it is not there yet.
  function define(name, Element) {
    const begin = () => customElements.define(name, Element);
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
  }

  return { html, svg, scrolling, grouped, inWords, define };
})();
