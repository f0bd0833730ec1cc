// Is it in the picture? The detector's probabilities, at the thresholds that the book judges by.

/** What the detector found: [name, probability, present] of every concept it knows. */
export function verdicts(probabilities, { concepts, thresholds }) {
  return concepts.map((name, i) => [name, probabilities[i], probabilities[i] >= thresholds[name]]);
}
