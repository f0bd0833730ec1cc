// A lane: one sentence, its pictures as they are drawn, and the count below them.

import { percent, tally, wilson } from "./tally.js";

const SIDE = 64;

/** An element with attributes and children. */
export function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function painted(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
}

/** What is in a picture, most likely first, for those who cannot see it. */
export function seen(found) {
  const there = found.filter(([, , present]) => present).sort((a, b) => b[1] - a[1]);
  return there.map(([name, p]) => `${name} ${percent(p)}`).join(", ") || "nothing that it knows";
}

export class Lane {
  /** name: what kind of lane; noun: what is looked for. It shows itself in `parent`. */
  constructor(parent, name, sentence, noun, seeds) {
    Object.assign(this, { noun, k: 0, n: 0, sentence, pictures: [] });
    this.count = made("b", {}, "…");
    this.share = made("span");
    this.bar = made("span", { class: "wb-interval", "aria-hidden": "true" }, made("i"));
    this.cells = made("div", { class: "wb-cells" });
    const head = made("div", { class: "wb-head" }, made("span", { class: "wb-kind" }, name), made("q", {}, sentence));
    const foot = made("div", { class: "wb-foot" }, this.count, this.bar, this.share);
    parent.append(made("section", { class: "wb-lane", "aria-label": `${name}: ${sentence}` }, head, this.cells, foot));
    for (let i = 0; i < seeds; i++) this.cell();
  }

  cell() {
    const canvas = made("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": "not drawn yet" });
    this.cells.append(made("figure", {}, canvas, made("figcaption", {}, "\u00a0")));
  }

  canvas(i) {
    return this.cells.children[i].firstChild;
  }

  preview(i, step, steps, pixels) {
    painted(this.canvas(i), pixels);
    this.canvas(i).setAttribute("aria-label", `being drawn, step ${step} of ${steps}`);
  }

  /** A finished picture. picture: what the model answers, with its seed. */
  add(i, picture) {
    this.pictures[i] = picture;
    painted(this.canvas(i), picture.pixels);
    const [, p, present] = picture.found.find(([name]) => name === this.noun);
    this.n += 1;
    this.k += present;
    const verdict = `${present ? "● there" : "○ not there"}\n${percent(p)}`;
    this.canvas(i).setAttribute("aria-label", `seed ${picture.seed}: ${seen(picture.found)}`);
    this.canvas(i).title = `Seed ${picture.seed}. Found: ${seen(picture.found)}.`;
    this.cells.children[i].lastChild.textContent = verdict;
    this.cells.children[i].classList.toggle("wb-there", present);
    [this.count.textContent, this.share.textContent] = tally(this.noun, this.k, this.n);
    const [low, high] = wilson(this.k, this.n);
    Object.assign(this.bar.firstChild.style, { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
    this.bar.style.setProperty("--at", `${(100 * this.k) / this.n}%`);
  }
}
