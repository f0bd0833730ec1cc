// What a sentence says of the world: its object, its place, its control, and the book's own rate.

const HOLES = { c: "object", o: "object", b: "background" };
const VOWEL = /^(?!uni[cfqtv]|us[eu]|eu|one\b)[aeiou]/i;
const CONTROLS = [ // of sentences that no wording of the book fits, instruction by instruction
  [/\bwithout\b/gi, "with"],
  [/\bbut no(?:t an?)? (\p{L}+)/giu, (_, noun) => `and ${one(noun)}`],
  [/\bdo not\b|\bdon['’]t\b/gi, "do"],
  [/\bnever\b/gi, "always"],
  [/\bnot?\s+(?:an?\s+)?(\p{L}+)/giu, (_, noun) => one(noun)],
  [/\bforget\b/gi, "remember"],
  [/\bforgotten\b/gi, "remembered"],
  [/\b(?:avoid|omit|exclude|leave out|remove)\b/gi, "include"],
];

const one = (noun) => `${VOWEL.test(noun) ? "an" : "a"} ${noun}`;
const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A wording with its holes filled, as `prompts.fill` does. */
export function filled(text, values) {
  return text
    .replace(/\{(\w)\}/g, (_, hole) => values[hole])
    .replace(/\b([Aa])n? (\p{L}+)/gu, (_, a, noun) => a + one(noun).slice(1));
}

/** The wording of the book that a sentence is, with what fills its holes; undefined if none. */
export function wording(sentence) {
  for (const known of BOOK.wordings) {
    const seen = new Set();
    const pattern = plain(known.text).replace(/\b([Aa]) (?=\\\{)/g, "$1n? ").replace(/\\\{(\w)\\\}/g, (_, hole) => {
      if (seen.has(hole)) return `\\k<${hole}>`;
      seen.add(hole);
      return `(?<${hole}>${BOOK.world[HOLES[hole]].join("|")})`;
    });
    const found = sentence.trim().match(new RegExp(`^${pattern}$`, "i"));
    if (found) return { ...known, values: { ...found.groups } };
  }
}

/** The same words in the same order without the instruction; "" where there is none to take out. */
export function control(sentence) {
  const known = wording(sentence);
  if (known) return known.control && filled(known.control, known.values);
  const turned = CONTROLS.reduce((text, [from, to]) => text.replace(from, keptCase(to)), sentence);
  return turned === sentence ? "" : turned;
}

function keptCase(to) {
  return (...found) => {
    const text = typeof to === "string" ? to : to(...found);
    return /^\p{Lu}/u.test(found[0]) ? text[0].toUpperCase() + text.slice(1) : text;
  };
}

/** The place alone, nothing said about the object. */
export function placeAlone(sentence) {
  const place = BOOK.world.background.find((noun) => sentence.toLowerCase().includes(noun));
  return `a picture of ${place ?? BOOK.world.background[0]}`;
}

/** The object that a sentence is about; `otherwise` where it names none, or names that one too. */
export function objectOf(sentence, otherwise) {
  const known = wording(sentence)?.values.c;
  if (known) return known.toLowerCase();
  const named = BOOK.world.object.filter((noun) => new RegExp(`\\b${noun}s?\\b`, "i").test(sentence));
  return named.includes(otherwise) ? otherwise : (named[0] ?? otherwise);
}
