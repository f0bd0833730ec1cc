// How often: counts, shares and their intervals, as `whitebear.stats` has them.

const Z = 1.959963984540054;

/** Wilson's score interval of k in n, from 0 to 1. */
export function wilson(k, n) {
  const p = k / n;
  const centre = (p + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((p * (1 - p)) / n + (Z * Z) / (4 * n * n));
  return [k === 0 ? 0 : centre - half, k === n ? 1 : centre + half];
}

export const percent = (share) => `${Math.round(100 * share)} %`;

/** "bear in 6 of 7", and the interval as "86 % [49, 97]". */
export function tally(noun, k, n) {
  const [low, high] = wilson(k, n).map((end) => Math.round(100 * end));
  return [`${noun} in ${k} of ${n}`, `${percent(k / n)} [${low}, ${high}]`];
}

/** Whether a guess ("all", "some", "none") is what was found. */
export function guessed(guess, k, n) {
  const found = k === n ? "all" : k ? "some" : "none";
  return guess === found ? `You guessed it: ${found}.` : `You guessed ${guess}; it was ${found}.`;
}
