// The page "Can you make it leave the bear out?": the form, the run, and the address that keeps both.

import { Model, lacking } from "./model.js";
import { Lane, made } from "./lanes.js";
import { Inside } from "./inside.js";
import { control, objectOf, placeAlone, wording } from "./words.js";
import { card, csv, handed } from "./save.js";
import { guessed, percent } from "./tally.js";
import { named, weighed, written } from "./watch.js";

const KEPT = { p: "", c: "", a: "", k: "bear", n: "", w: "", g: "4", s: "20", seeds: "8", m: "shipped" };
const EVERY = 4; // steps between two previews
const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Page {
  constructor(form) {
    Object.assign(this, { form, model: new Model(), run: null, own: new Set(), lanes: [], drawn: [] });
    this.fields = Object.fromEntries(Object.keys(KEPT).map((name) => [name, form.elements[name]]));
    const parts = [...form.parentNode.querySelectorAll("[data-live]")];
    this.parts = Object.fromEntries(parts.map((part) => [part.dataset.live, part]));
    this.fields.k.append(...BOOK.world.object.map((noun) => new Option(noun)));
    this.parts.chips.append(...BOOK.sentences.map((text) => this.chip(text)));
    this.parts.world.textContent = Object.values(BOOK.world).map((nouns) => nouns.join(", ")).join("; ");
    const line = lacking();
    if (line) return this.say("cannot", `${line}; the stored pictures below show what it draws.`);
    form.hidden = false;
    this.inside = new Inside(this.parts.inside, {
      ask: (...asked) => this.model.ask(...asked),
      weigh: (factors) => {
        this.fields.w.value = written(factors);
        this.changed(this.fields.k);
      },
      again: () => {
        this.draw();
        this.parts.lanes.focus();
      },
    });
    this.listen();
    this.recall();
  }

  chip(text) {
    const chip = made("button", { type: "button" }, text);
    chip.onclick = () => {
      this.own.clear();
      this.fields.p.value = text;
      this.changed();
      this.fields.p.focus();
    };
    return chip;
  }

  listen() {
    const { form, fields } = this;
    form.onsubmit = (event) => {
      event.preventDefault();
      this.draw();
    };
    form.oninput = ({ target }) => {
      if (target === fields.c || target === fields.a) this.own.add(target.name);
      this.changed(target);
    };
    this.parts.stop.onclick = () => this.stop();
    this.parts.copy.onclick = () => this.copy();
    this.parts.png.onclick = () => {
      const name = `${this.lanes[0].sentence.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}.png`;
      card(this.lanes.filter(({ n }) => n)).toBlob((blob) => handed(name, blob));
    };
    this.parts.csv.onclick = () => handed("white-bear.csv", new Blob([csv(this.drawn)], { type: "text/csv" }));
    this.parts.large.hidden = !document.fullscreenEnabled;
    this.parts.large.onclick = () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else form.parentNode.requestFullscreen();
    };
    window.addEventListener("keydown", ({ key }) => key === "Escape" && this.stop());
    window.addEventListener("hashchange", () => {
      if (!location.hash.includes("=")) return; // a heading of the page
      this.recall();
      fields.p.focus();
    });
  }

  /** Take the state out of the address; what it does not say is as at the start. */
  recall() {
    const kept = new URLSearchParams(location.hash.slice(1));
    this.own = new Set(["c", "a"].filter((name) => kept.has(name)));
    for (const [name, first] of Object.entries(KEPT)) this.fields[name].value = kept.get(name) ?? first;
    const folded = this.form.querySelector("details");
    folded.open ||= [...folded.querySelectorAll("[name]")].some(({ name }) => kept.has(name));
    if (!kept.has("p")) this.fields.p.value = BOOK.sentences[BOOK.sentences.length - 1];
    if (!this.fields.k.value) this.fields.k.value = KEPT.k;
    this.changed();
  }

  /** Follow the form: control, place, object, what is to be loaded, and the address. */
  changed(target) {
    const { p, c, a, k } = this.fields;
    if (target !== k) k.value = objectOf(p.value, k.value);
    if (!this.own.has("c")) c.value = control(p.value);
    if (!this.own.has("a")) a.value = placeAlone(p.value);
    for (const part of this.form.querySelectorAll("[data-noun]")) part.textContent = k.value;
    for (const out of this.form.querySelectorAll("output[for]")) {
      out.value = this.form.elements[out.htmlFor].value;
    }
    const bytes = this.wanted().reduce((sum, name) => sum + (this.model.loaded.has(name) ? 0 : BOOK.sizes[name]), 0);
    const size = (bytes / 1e6).toFixed(0);
    this.say("loads", bytes ? `Drawing loads ${size} MB from this book, once, and then works without a network. Nothing that you write leaves your device.` : "");
    this.keep();
    if (this.model.loaded.has("facts")) this.nameUnknown();
  }

  wanted() {
    return this.fields.m.value === "taught" ? [...BOOK.first, ...BOOK.taught] : BOOK.first;
  }

  keep() {
    const state = new URLSearchParams();
    for (const [name, first] of Object.entries(KEPT)) {
      const written = "ca".includes(name) ? this.own.has(name) : this.fields[name].value !== first;
      if (written) state.set(name, this.fields[name].value);
    }
    history.replaceState(null, "", `#${state}`);
  }

  say(part, text) {
    this.parts[part].textContent = text;
    this.parts[part].hidden = !text;
  }

  async nameUnknown() {
    const words = await this.model.ask("unknown", { sentence: this.fields.p.value });
    const names = words.map((word) => `“${word}”`).join(", ");
    this.say("unknown", words.length ? `${names}: not in its world. It reads such a word in pieces that it has hardly seen.` : "");
  }

  stop() {
    if (!this.run) return;
    this.run = null;
    this.busy(false);
    this.say("status", "Stopped.");
  }

  busy(yes) {
    this.parts.stop.hidden = !yes;
    this.parts.lanes.setAttribute("aria-busy", yes);
  }

  async draw() {
    const { form, fields, parts } = this;
    const asked = {
      model: fields.m.value,
      concept: fields.k.value,
      negative: fields.n.value,
      weigh: weighed(fields.w.value),
      guidance: Number(fields.g.value),
      steps: Number(fields.s.value),
    };
    const run = (this.run = { asked, guess: form.elements.guess.value });
    this.busy(true);
    this.say("result", "");
    try {
      const told = (share) => run === this.run && this.say("status", `Loading: ${percent(share)}`);
      await this.model.load(this.wanted(), told);
      if (run !== this.run) return;
      this.changed(fields.k);
      this.inside.hide();
      parts.lanes.replaceChildren();
      const rows = [["Your sentence", fields.p], ["Its control", fields.c], ["The place alone", fields.a]]
        .map(([kind, field]) => [kind, field.value.trim()])
        .filter(([, sentence]) => sentence);
      const seeds = Number(fields.seeds.value);
      const lanes = rows.map((row) => {
        const beside = row === rows[0] ? rows.slice(0, 2) : [rows[0], row];
        const inspect = (seed, button) => this.inside.open(beside, { ...asked, seed }, button);
        return new Lane(parts.lanes, row[0] + named(asked.weigh, row[1]), row[1], asked.concept, seeds, inspect);
      });
      this.lanes = lanes;
      parts.save.hidden = false;
      await this.fill(run, lanes, seeds);
      if (run === this.run) this.finish(run, lanes[0]);
    } catch (error) {
      if (run === this.run) this.say("status", `It cannot draw here: ${error.message}. The stored pictures below show what it draws.`);
    }
    if (run === this.run) this.busy(false);
  }

  /** Seed by seed, in every lane from the same noise. */
  async fill(run, lanes, seeds) {
    const { asked } = run;
    const every = calm.matches ? Infinity : EVERY;
    for (let seed = 0; seed < seeds; seed++) {
      for (const lane of lanes) {
        const shown = (step, pixels) => run === this.run && lane.preview(seed, step, asked.steps, pixels);
        const picture = await this.model.ask("draw", { ...asked, prompt: lane.sentence, seed, every }, shown);
        if (run !== this.run) return;
        lane.add(seed, { ...picture, seed });
        this.drawn.push(this.row(asked, lane, seed, picture));
      }
      const { k, n, noun } = lanes[0];
      this.say("status", `${n} of ${seeds} drawn, ${noun} in ${k}. Press a picture to look inside.`);
    }
  }

  /** A picture as a line of the table that can be saved. */
  row(asked, { name, sentence }, seed, { found }) {
    const [, probability, present] = found.find(([noun]) => noun === asked.concept);
    const weigh = written(asked.weigh);
    const judged = { probability: probability.toFixed(4), present: Number(present) };
    return { ...asked, kind: name, prompt: sentence, weigh, seed, ...judged };
  }

  finish(run, lane) {
    const { asked } = run;
    const book = wording(lane.sentence);
    const lines = [];
    if (run.guess) lines.push(guessed(run.guess, lane.k, lane.n));
    if (book && asked.model === "shipped" && !named(asked.weigh, lane.sentence) && !asked.negative) {
      lines.push(`In the book, this wording shows its object in ${percent(book.rate)} of ${book.n} pictures, all objects together.`);
    }
    this.say("result", lines.join(" "));
    const model = asked.model === "taught" ? ", taught model" : "";
    const other = named(asked.weigh, lane.sentence) + (asked.negative && `, negative prompt “${asked.negative}”`);
    const words = `“${lane.sentence}”: ${lane.noun} in ${lane.k} of ${lane.n}${model}${other}`;
    this.parts.tries.hidden = false;
    this.parts.tries.lastElementChild.append(made("li", {}, words));
  }

  async copy() {
    this.keep();
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("status", "The link to this sentence is copied.");
    } catch {
      this.say("status", "Copy the address of this page: it holds the sentence and all settings.");
    }
  }
}

const form = document.getElementById("wb-live");
window.whiteBear.page = form && new Page(form);
window.whiteBear.Model = Model;
