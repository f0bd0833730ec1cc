// DDIM without noise (Song et al. 2020, equation 12) as the pocket model is sampled: v-prediction,
// trailing steps, and a last step of training that is noise alone (Lin et al. 2023).

const TRAINED = 1000;

/** How much of the picture's variance is left at each step of training, from nearly 1 down to 0. */
export function alphas() {
  const left = (t) => Math.cos((((t / TRAINED + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  let product = 1;
  const roots = Array.from({ length: TRAINED }, (_, t) => {
    product *= 1 - Math.min(1 - left(t + 1) / left(t), 0.999);
    return Math.sqrt(product);
  });
  const [first, last] = [roots[0], roots[TRAINED - 1]];
  return roots.map((root) => (((root - last) * first) / (first - last)) ** 2);
}

/** The steps of training at which the denoiser is called, from noise to picture. */
export function timesteps(steps) {
  const apart = TRAINED - TRAINED / steps - TRAINED; // in numpy's order, which decides some halves
  return Array.from({ length: steps }, (_, i) => even(TRAINED + i * apart) - 1);
}

/** Rounded, halves to the even neighbour, as numpy does. */
function even(number) {
  const low = Math.floor(number);
  if (number - low !== 0.5) return Math.round(number);
  return low % 2 ? low + 1 : low;
}

/** What guidance makes of both halves of a prediction (Ho and Salimans 2022). Up to 1 there is
 * none: the prompt's half alone counts. */
export function guided(both, guidance) {
  const size = both.length / 2;
  const [free, told] = [both.subarray(0, size), both.subarray(size)];
  return guidance <= 1 ? told : told.map((v, i) => free[i] + guidance * (v - free[i]));
}

/** One step: the latents at the step before t, and the picture that is foreseen at t. */
export function step(latents, predicted, t, steps, alpha) {
  const before = t - Math.floor(TRAINED / steps);
  const next = before < 0 ? 1 : alpha[before];
  const [a, b] = [Math.sqrt(alpha[t]), Math.sqrt(1 - alpha[t])];
  const picture = latents.map((x, i) => a * x - b * predicted[i]);
  const noise = latents.map((x, i) => a * predicted[i] + b * x);
  const [c, d] = [Math.sqrt(next), Math.sqrt(1 - next)];
  return { picture, latents: picture.map((x, i) => c * x + d * noise[i]) };
}
