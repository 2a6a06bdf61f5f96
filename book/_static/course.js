// The theme's script lets code that scrolls sideways take the focus when the window changes; so must it when text unfolds.
const measureAgain = () => window.dispatchEvent(new Event("resize"));
document.addEventListener("toggle", measureAgain, true);

// The button of a solution says "Show" or "Hide"; this lets a screen reader say the same, and of what.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".toggle-button")) {
    const title = button.closest(".admonition-title");
    const name = () => button.setAttribute("aria-label", `${button.dataset.toggleHint} ${title.textContent.trim()}`);
    title.addEventListener("click", name);
    title.addEventListener("click", measureAgain);
    name();
  }
});

// Escape hides the definition of a term until the reader has left it.
document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  const shown = document.querySelectorAll("a[data-definition]:is(:hover, :focus-visible)");
  for (const term of shown) term.classList.add("dismissed");
});
for (const type of ["pointerout", "focusout"]) {
  document.addEventListener(type, ({ target }) => target.closest("a[data-definition]")?.classList.remove("dismissed"));
}
