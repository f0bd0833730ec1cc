// The pocket model in a page: its graphs, and a picture from words and noise.

import { normals } from "./noise.js";
import { alphas, guided, step, timesteps } from "./schedule.js";
import { POSITIONS, Words } from "./tokenise.js";
import { verdicts } from "./judge.js";

const [LATENTS, SIDE] = [[16, 8, 8], 64];
const SIZE = LATENTS.reduce((a, b) => a * b);
const tensor = (values, ...shape) => new ort.Tensor("float32", values, shape);

/** Draws and judges with graphs that are handed to it one by one. */
export class Artist {
  constructor() {
    this.graphs = {};
    this.states = new Map();
    this.alpha = alphas();
  }

  /** Take in a part of the download: the runtime, what is known beside weights, or a graph. */
  async take(name, bytes) {
    if (name === "runtime") {
      Object.assign(ort.env.wasm, { wasmBinary: bytes, numThreads: 1 });
    } else if (name === "facts") {
      this.facts = JSON.parse(new TextDecoder().decode(bytes));
      this.words = new Words(this.facts.tokenizer, this.facts.tokenizer_config);
    } else {
      this.graphs[name] = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    }
  }

  /** Text states of a sentence, 77 vectors in a row. */
  async read(model, sentence) {
    const key = `${model}\0${sentence}`;
    if (!this.states.has(key)) {
      const ids = BigInt64Array.from(this.words.ids(sentence).ids, BigInt);
      const given = { ids: new ort.Tensor("int64", ids, [1, POSITIONS]) };
      this.states.set(key, (await this.graphs[`${model}-text`].run(given)).states.data);
    }
    return this.states.get(key);
  }

  /** The noise that the book's pictures of a concept and seed start from. */
  noise(concept, seed) {
    const numbers = this.facts.seeds[concept];
    if (!(seed in numbers)) throw new Error(`seed ${seed} is not on offer; there are ${numbers.length}`);
    return normals(numbers[seed], SIZE);
  }

  /** A picture: pixels (RGBA), what the detector found, and attention to each token: mass
   * (steps x layers x 77) and maps (steps x 77 x 8 x 8).
   * asked: model, prompt, negative, concept, seed, steps, guidance, and weigh, how much words of the
   * prompt count in attention (word -> factor; 0 takes it out, 1 changes nothing); shown: is called with what is foreseen, at every `every`-th step. */
  async draw(asked, shown = () => {}, every = Infinity) {
    const { model, steps } = asked;
    const halves = [await this.read(model, asked.negative ?? ""), await this.read(model, asked.prompt)];
    const states = tensor(joined(halves), 2, POSITIONS, halves[0].length / POSITIONS);
    const ones = new Float32Array(POSITIONS).fill(1);
    const own = this.words.weights(asked.prompt, asked.weigh ?? {});
    const weights = tensor(joined([ones, own]), 2, POSITIONS);
    const [mass, maps] = [[], []];
    let latents = this.noise(asked.concept, asked.seed);
    for (const [i, t] of timesteps(steps).entries()) {
      const found = await this.graphs[`${model}-denoiser`].run({
        latents: tensor(joined([latents, latents]), 2, ...LATENTS),
        timestep: new ort.Tensor("int64", [BigInt(t)], [1]),
        states,
        weights,
      });
      const made = step(latents, guided(found.predicted.data, asked.guidance), t, steps, this.alpha);
      latents = made.latents;
      mass.push(found.mass.data);
      maps.push(found.map.data);
      if (i % every === every - 1 && i < steps - 1) shown(i + 1, await this.pixels(made.picture));
    }
    const pixels = await this.pixels(latents);
    return { pixels, found: await this.judge(pixels), mass: joined(mass), maps: joined(maps) };
  }

  /** Latents as a picture, 64 x 64 x RGBA. */
  async pixels(latents) {
    const { data } = (await this.graphs.decoder.run({ latents: tensor(latents, 1, ...LATENTS) })).picture;
    const [plane, pixels] = [SIDE * SIDE, new Uint8ClampedArray(4 * SIDE * SIDE).fill(255)];
    data.forEach((value, i) => (pixels[4 * (i % plane) + Math.floor(i / plane)] = 255 * value));
    return pixels;
  }

  async judge(pixels) {
    const plane = SIDE * SIDE;
    const picture = Float32Array.from({ length: 3 * plane }, (_, i) => pixels[4 * (i % plane) + Math.floor(i / plane)]);
    const { probability } = await this.graphs.detector.run({ picture: tensor(picture, 1, 3, SIDE, SIDE) });
    return verdicts(probability.data, this.facts);
  }
}

function joined(arrays) {
  const all = new Float32Array(arrays.reduce((size, array) => size + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}
