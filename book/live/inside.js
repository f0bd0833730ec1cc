// Look inside: how a picture came about, step by step, beside another one from the same noise, and
// where a word was read in both.

import { made, painted, verdict } from "./lanes.js";
import { heat, most, named, places, shares } from "./watch.js";

const [GRID, PACE] = [8, 250]; // cells a side of a map; ms that a step is shown
const [LITTLE, MUCH] = [[16, 32, 46], [255, 236, 170]]; // dark and bright, also without colours
const FACTORS = [[0, "not at all"], [0.5, "half"], [1, "as it is"], [2, "twice"], [4, "four times"]];

const small = (share) => `${(100 * share).toFixed(1)} %`;
const button = (text) => made("button", { type: "button" }, text);

export class Inside {
  /** ask: has the worker answer; weigh: is told how much words are to count from now on; again:
   * draws every picture in this way. It shows itself in `root`. */
  constructor(root, { ask, weigh, again }) {
    Object.assign(this, { root, ask, weigh, word: "", sides: [] });
    this.title = made("b");
    this.body = made("div", { class: "wb-sides" });
    this.play = button("Play");
    this.step = made("input", { type: "range", min: 1, "aria-label": "Step" });
    this.line = made("p", { class: "wb-note" });
    this.chart = made("div", { class: "wb-chart" });
    this.legend = made("legend");
    const choices = FACTORS.map(([factor, name]) =>
      made("label", {}, made("input", { type: "radio", name: "factor", value: factor }), name),
    );
    const factors = made("fieldset", {}, this.legend, ...choices);
    const [all, close] = [button("Draw all pictures like this"), button("Close")];
    const steps = made("div", { class: "wb-row" }, this.play, this.step);
    this.tools = made("div", {}, steps, this.chart, factors, all);
    root.append(made("div", { class: "wb-head" }, this.title, close), this.line, this.body, this.tools);
    this.step.oninput = () => this.turn(Number(this.step.value) - 1);
    this.play.onclick = () => (this.timer ? this.pause() : this.start());
    factors.onchange = ({ target }) => this.count(Number(target.value));
    all.onclick = again;
    close.onclick = () => {
      this.hide();
      this.from.focus();
    };
  }

  /** lanes: [kind, sentence] of one or two; asked: what they are drawn with, and their seed; from:
   * what was pressed. */
  open(lanes, asked, from) {
    Object.assign(this, { lanes, asked, from, at: asked.steps - 1, sides: [] });
    this.root.hidden = false;
    this.tools.hidden = true;
    this.body.replaceChildren();
    this.root.focus();
    return this.draw();
  }

  hide() {
    this.pause();
    this.drawing = null;
    this.root.hidden = true;
  }

  /** Let the word count `factor` times as much, in every picture that has it. */
  count(factor) {
    this.asked = { ...this.asked, weigh: { ...this.asked.weigh, [this.word]: factor } };
    this.weigh(this.asked.weigh);
    return this.draw();
  }

  /** Draw them again and keep every step. Where it is asked for twice, the later one counts. */
  async draw() {
    const [asked, drawing] = [this.asked, (this.drawing = {})];
    this.pause();
    this.title.textContent = `Inside picture ${asked.seed}`;
    this.line.textContent = "It is drawn once more, to keep every step …";
    try {
      const sides = await Promise.all(this.lanes.map((lane) => this.drawn(lane, asked)));
      if (drawing !== this.drawing) return;
      this.sides = sides;
      this.build();
    } catch (error) {
      if (drawing === this.drawing) this.line.textContent = `It cannot be drawn: ${error.message}.`;
    }
  }

  async drawn([kind, prompt], asked) {
    const frames = [];
    const keep = (_, pixels) => frames.push(pixels);
    const [picture, spans] = await Promise.all([
      this.ask("draw", { ...asked, prompt, every: 1 }, keep),
      this.ask("spans", { sentence: prompt }),
    ]);
    return { ...picture, kind, prompt, spans, frames: [...frames, picture.pixels] };
  }

  build() {
    const { asked, sides } = this;
    this.tools.hidden = false;
    this.body.replaceChildren(...sides.map((side) => this.side(side)));
    this.step.max = asked.steps;
    const has = (word) => sides.some(({ spans }) => places(spans, word).length);
    this.look([this.word, asked.concept, "<end>"].find(has));
  }

  side(side) {
    const { asked } = this;
    side.words = side.spans.map(([text]) => button(text));
    for (const word of side.words) word.onclick = () => this.look(word.textContent.toLowerCase());
    side.canvas = made("canvas", { width: 64, height: 64, role: "img" });
    side.map = made("canvas", { width: GRID, height: GRID, role: "img" });
    const kind = side.kind + named(asked.weigh, side.prompt);
    return made(
      "div", { role: "group", "aria-label": `${kind}: ${side.prompt}` },
      made("div", { class: "wb-kind" }, kind),
      made("div", { class: "wb-words", role: "group", "aria-label": "Words" }, ...side.words),
      made("div", { class: "wb-pair" }, side.canvas, side.map),
      made("p", {}, `${asked.concept}: ${verdict(side.found, asked.concept).join(" ")}`),
    );
  }

  /** Turn to another word, in both pictures. */
  look(word) {
    const { asked, sides } = this;
    this.word = word;
    for (const side of sides) {
      const at = places(side.spans, word);
      side.shares = shares(side.mass, asked.steps, at);
      side.heat = side.shares.map((_, step) => heat(side.maps, step, at));
      for (const each of side.words) each.setAttribute("aria-pressed", each.textContent.toLowerCase() === word);
    }
    this.most = Math.max(1e-9, ...sides.flatMap((side) => side.heat.flat()));
    this.legend.textContent = `In attention, “${word}” counts`;
    const factor = asked.weigh[word] ?? 1;
    for (const input of this.tools.querySelectorAll("[name=factor]")) input.checked = Number(input.value) === factor;
    this.drawChart();
    this.turn(this.at);
  }

  /** Turn to a step; the first is 0. */
  turn(at) {
    const { steps } = this.asked;
    this.at = at;
    for (const side of this.sides) {
      painted(side.canvas, side.frames[at]);
      side.canvas.setAttribute("aria-label", `the picture as it is foreseen at step ${at + 1} of ${steps}`);
      coloured(side.map, side.heat[at].map((share) => share / this.most));
      side.map.setAttribute("aria-label", `where “${this.word}” is read: ${most(side.heat[at])}`);
    }
    const said = this.sides.map(({ kind, shares }) => `${small(shares[at])} in ${kind.toLowerCase()}`).join(", ");
    this.line.textContent = `Step ${at + 1} of ${steps}: of the attention, “${this.word}” has ${said}.`;
    this.step.value = at + 1;
    this.step.setAttribute("aria-valuetext", `${at + 1} of ${steps}`);
    const x = (100 * at) / Math.max(1, steps - 1);
    this.chart.querySelector("line").setAttribute("transform", `translate(${x} 0)`);
  }

  start() {
    if (this.at === this.asked.steps - 1) this.turn(0);
    this.play.textContent = "Pause";
    this.line.ariaLive = "off"; // four times a second is too much to hear
    this.timer = setInterval(() => {
      this.turn(this.at + 1);
      if (this.at === this.asked.steps - 1) this.pause();
    }, PACE);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "Play";
    this.line.ariaLive = "polite";
  }

  /** The share of attention at every step, a line a picture. */
  drawChart() {
    const { sides, word, asked } = this;
    const top = Math.max(1e-9, ...sides.flatMap((side) => side.shares));
    const point = (share, i) => `${(100 * i) / Math.max(1, asked.steps - 1)},${40 - (38 * share) / top}`;
    const lines = sides.map((side) => `<polyline points="${side.shares.map(point).join(" ")}"/>`).join("");
    const keys = sides.map(({ kind }) => made("span", {}, kind));
    this.chart.innerHTML = `<svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img">${lines}<line y2="40"/></svg>`;
    const said = sides.map(({ kind, shares }) => `${kind}: ${small(shares[0])} at first, ${small(shares.at(-1))} at last`);
    this.chart.firstChild.setAttribute("aria-label", `Share of attention that “${word}” has, by step. ${said.join(". ")}.`);
    const axis = made("div", { class: "wb-head" }, made("span", {}, "step 1"), made("span", {}, `step ${asked.steps}`));
    const share = made("span", {}, `share of attention, up to ${small(top)}`);
    this.chart.prepend(made("div", { class: "wb-head" }, share, ...keys));
    this.chart.append(axis);
  }
}

/** Cells from 0 to 1 as a picture, bright is much. */
function coloured(canvas, cells) {
  const mix = (cell) => [...LITTLE.map((low, i) => low + cell * (MUCH[i] - low)), 255];
  const pixels = Uint8ClampedArray.from(cells.flatMap(mix));
  canvas.getContext("2d").putImageData(new ImageData(pixels, GRID, GRID), 0, 0);
}
