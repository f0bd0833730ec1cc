// The starting noise of a picture, number for number that of `torch.randn` on a CPU.

const [LENGTH, MIDDLE] = [624, 397];

/** Whole numbers of 32 bits from the Mersenne Twister (Matsumoto and Nishimura 1998). */
function twister(seed) {
  const state = new Uint32Array(LENGTH);
  state[0] = seed;
  for (let i = 1; i < LENGTH; i++) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }
  let at = LENGTH;
  return () => {
    if (at === LENGTH) {
      for (let i = 0; i < LENGTH; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % LENGTH] & 0x7fffffff);
        state[i] = state[(i + MIDDLE) % LENGTH] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** `count` normal numbers, a multiple of 16: torch pairs the first and last eight of each sixteen
 * (Box and Muller 1958). Of a seed it takes the lower 32 bits. */
export function normals(seed, count) {
  const next = twister(seed);
  const made = Float32Array.from({ length: count }, () => (next() & 0xffffff) / 0x1000000);
  for (let start = 0; start < count; start += 16) {
    for (let i = start; i < start + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - made[i]));
      const angle = 2 * Math.PI * made[i + 8];
      made[i] = radius * Math.cos(angle);
      made[i + 8] = radius * Math.sin(angle);
    }
  }
  return made;
}
