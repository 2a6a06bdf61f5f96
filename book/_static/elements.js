// Elements of a page, made and filled in one call, and numbers and lists as the pages write them.
"use strict";

// biome-ignore lint/correctness/noUnusedVariables: other scripts use it.
const Elements = (() => {
  function append(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const html = (tag, attributes, ...children) => append(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    append(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // A box that scrolls sideways and can be reached by keyboard.
  const scrolling = (label, ...children) =>
    html("div", { class: "explorer-scroll", role: "region", tabindex: 0, "aria-label": label }, ...children);

  const grouped = (number) => number.toLocaleString("en-US");
  const inWords = (list) => list.join(", ").replace(/, ([^,]*)$/, " and $1");
  const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

  // Before the page is parsed, the fallback inside an element could not be replaced: it is not there yet.
  function define(name, element) {
    const doIt = () => customElements.define(name, element);
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", doIt);
    else doIt();
  }

  // A link to a section of the page, such as the one past the menus, changes the address too, and asks for nothing else.
  const leadsToSection = () => document.getElementById(location.hash.slice(1)) !== null;

  return { html, svg, scrolling, grouped, inWords, sentence, define, leadsToSection };
})();
