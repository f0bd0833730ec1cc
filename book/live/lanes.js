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

/** Put pixels of a picture on its canvas. */
export function painted(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
}

/** What is in a picture, most likely first, for those who cannot see it. */
export function seen(found) {
  const there = found.filter(([, , present]) => present).sort((a, b) => b[1] - a[1]);
  return there.map(([name, p]) => `${name} ${percent(p)}`).join(", ") || "nothing that it knows";
}

/** Whether a noun is in the picture, in words, and with which probability. */
export function verdict(found, noun) {
  const [, p, present] = found.find(([name]) => name === noun);
  return [present ? "● there" : "○ not there", percent(p)];
}

export class Lane {
  /** name: what kind of lane; noun: what is looked for; inspect: is called with the number of a
   * picture that is pressed, and its button. It shows itself in `parent`. */
  constructor(parent, name, sentence, noun, seeds, inspect) {
    Object.assign(this, { name, noun, k: 0, n: 0, sentence, inspect });
    this.count = made("b", {}, "…");
    this.share = made("span");
    this.bar = made("span", { class: "wb-interval", "aria-hidden": "true" }, made("i"));
    this.cells = made("div", { class: "wb-cells" });
    const head = made("div", { class: "wb-head" }, made("span", { class: "wb-kind" }, name), made("q", {}, sentence));
    const foot = made("div", { class: "wb-foot" }, this.count, this.bar, this.share);
    parent.append(made("section", { class: "wb-lane", "aria-label": `${name}: ${sentence}` }, head, this.cells, foot));
    for (let i = 0; i < seeds; i++) this.cell(i);
  }

  cell(i) {
    const canvas = made("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": "not drawn yet" });
    const button = made("button", { type: "button", disabled: "" }, canvas);
    button.onclick = () => this.inspect(i, button);
    this.cells.append(made("figure", {}, button, made("figcaption", {}, "\u00a0")));
  }

  /** What is drawn so far. */
  get pictures() {
    return [...this.cells.querySelectorAll("canvas")].slice(0, this.n);
  }

  canvas(i) {
    return this.cells.children[i].querySelector("canvas");
  }

  preview(i, step, steps, pixels) {
    painted(this.canvas(i), pixels);
    this.canvas(i).setAttribute("aria-label", `being drawn, step ${step} of ${steps}`);
  }

  /** A finished picture. picture: what the model answers, with its seed. */
  add(i, picture) {
    painted(this.canvas(i), picture.pixels);
    const [, , present] = picture.found.find(([name]) => name === this.noun);
    this.n += 1;
    this.k += present;
    this.canvas(i).setAttribute("aria-label", `seed ${picture.seed}: ${seen(picture.found)}`);
    this.canvas(i).title = `Seed ${picture.seed}. Found: ${seen(picture.found)}. Press to look inside.`;
    this.canvas(i).parentNode.disabled = false;
    this.cells.children[i].lastChild.textContent = verdict(picture.found, this.noun).join("\n");
    this.cells.children[i].classList.toggle("wb-there", present);
    [this.count.textContent, this.share.textContent] = tally(this.noun, this.k, this.n);
    const [low, high] = wilson(this.k, this.n);
    Object.assign(this.bar.firstChild.style, { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
    this.bar.style.setProperty("--at", `${(100 * this.k) / this.n}%`);
  }
}
