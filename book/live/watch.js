// What attention read of a word, and how much a word is made to count.

const [TOKENS, CELLS] = [77, 64];

/** Where a word stands: its positions, all places of it together. spans: of `Words.spans`. */
export function places(spans, word) {
  const own = spans.filter(([text]) => text.toLowerCase() === word);
  return own.flatMap(([, from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
}

/** The share of attention that positions got at each step, the mean over layers. */
export function shares(mass, steps, at) {
  const layers = mass.length / steps / TOKENS;
  const share = (step, layer) => at.reduce((sum, i) => sum + mass[(step * layers + layer) * TOKENS + i], 0);
  return Array.from({ length: steps }, (_, step) => {
    let sum = 0;
    for (let layer = 0; layer < layers; layer++) sum += share(step, layer);
    return sum / layers;
  });
}

/** The same share in each of the 8 x 8 cells of the picture, at one step. */
export function heat(maps, step, at) {
  const start = step * TOKENS;
  return Array.from({ length: CELLS }, (_, cell) =>
    at.reduce((sum, i) => sum + maps[(start + i) * CELLS + cell], 0),
  );
}

/** Where in the picture most of it is, in words. */
export function most(cells) {
  if (!cells.some(Boolean)) return "nowhere";
  const at = cells.indexOf(Math.max(...cells));
  const third = (i, names) => names[Math.floor((3 * i) / 8)];
  const [row, column] = [third(at >> 3, ["top", "middle", "bottom"]), third(at & 7, ["left", "centre", "right"])];
  return `most at the ${row} ${column}`;
}

/** "bear:0 <end>:2" as word -> factor; what is not of this form is passed over. */
export function weighed(text) {
  const found = text.toLowerCase().matchAll(/(\S+):(\d+(?:\.\d+)?|\.\d+)(?!\S)/g);
  return Object.fromEntries([...found].map(([, word, factor]) => [word, Number(factor)]));
}

/** The other way round, without what changes nothing. */
export function written(factors) {
  const changed = Object.entries(factors).filter(([, factor]) => factor !== 1);
  return changed.map(([word, factor]) => `${word}:${factor}`).join(" ");
}

/** ", bear × 0" for the words that a sentence has; every sentence has what stands in <>. */
export function named(factors, sentence) {
  const words = sentence.toLowerCase().match(/[\p{L}\p{N}'’]+|[^\s\p{L}\p{N}]+/gu) ?? [];
  const own = Object.entries(factors).filter(([word]) => words.includes(word) || /^<\p{L}+>$/u.test(word));
  return own.map(([word, factor]) => `, ${word} × ${factor}`).join("");
}
