// What a page can say only when it is laid out: which boxes scroll sideways, what a slider is
// called; and that paper is always light, with the answer in full.
"use strict";

const BOXES = {
  table: "article .pst-scrollable-table-container, article .cell_output > .output.text_html",
  formula: "article .mathml-block",
};

/** Boxes that scroll sideways take the focus, say so, and have a name; the others do not. */
function nameBoxes() {
  for (const [kind, boxes] of Object.entries(BOXES)) {
    document.querySelectorAll(boxes).forEach((box, i) => {
      const wide = box.scrollWidth > box.clientWidth + 1;
      if (!wide && !box.hasAttribute("data-wide")) return;
      const said = { "data-wide": kind, tabindex: 0, role: "region" };
      said["aria-label"] = `${kind} ${i + 1} of this page, scrolls sideways`;
      for (const [name, value] of Object.entries(said))
        wide ? box.setAttribute(name, value) : box.removeAttribute(name);
    });
  }
}

/** A slider of a stored widget has the name of its label, or "step". */
function nameSliders() {
  for (const handle of document.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const label = handle.closest(".jupyter-widgets")?.querySelector(".widget-label")?.textContent;
    handle.setAttribute("aria-label", label?.trim() || "step");
  }
}

function onPaper() {
  const { theme } = document.documentElement.dataset;
  document.documentElement.dataset.theme = "light";
  for (const answer of document.querySelectorAll("details.wb-in-full")) answer.open = true;
  addEventListener("afterprint", () => { document.documentElement.dataset.theme = theme; }, { once: true });
}

nameBoxes();
addEventListener("load", nameBoxes);
addEventListener("resize", nameBoxes);
addEventListener("beforeprint", onPaper);
new MutationObserver(nameSliders).observe(document.body, { childList: true, subtree: true });
