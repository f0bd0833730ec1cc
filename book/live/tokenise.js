// From a sentence to the numbers that the text encoder reads.

export const POSITIONS = 77;
// A special token, a contraction, a word, digits, or signs in a row: each is read by itself, so that
// the tokens of all of them are those of the sentence. “don't” is one word here, “bear's” is two.
const PART =
  /<\|\p{L}+\|>|'(?:s|t|re|ve|m|ll|d)|’s(?!\p{L})|\p{L}+(?:['’](?!s(?!\p{L}))\p{L}+)?|\p{N}+|[^\s\p{L}\p{N}]+/giu;

/** The tokenizer of the model. described: tokenizer.json. */
export class Words {
  constructor(described, config) {
    this.tokenizer = new tokenizers.Tokenizer(described, config);
    this.end = this.tokenizer.token_to_id(config.eos_token);
  }

  /** Ids with start, end and padding; `length` counts all but the padding. Throws where the
   * sentence is too long to be read whole. */
  ids(sentence) {
    const found = this.tokenizer.encode(sentence).ids;
    if (found.length > POSITIONS) {
      throw new Error(`this sentence has ${found.length} tokens, but the model reads ${POSITIONS}; shorten it`);
    }
    const ids = [...found, ...Array(POSITIONS - found.length).fill(this.end)];
    return { ids, length: found.length };
  }

  /** Tokens as the reader knows them: [text, first, last + 1], a word in one piece, signs apart. */
  spans(sentence) {
    const spans = [["<start>", 0, 1]];
    let at = 1;
    for (const part of sentence.normalize("NFC").match(PART) ?? []) {
      const many = this.tokenizer.encode(part).ids.length - 2;
      spans.push([part, at, (at += many)]);
    }
    return [...spans, ["<end>", at, at + 1], ["<padding>", at + 1, POSITIONS]];
  }

  /** How much each of the 77 positions counts. weighed: word -> factor, for all places of it. */
  weights(sentence, weighed) {
    const weights = new Float32Array(POSITIONS).fill(1);
    for (const [text, from, to] of this.spans(sentence)) {
      weights.fill(weighed[text.toLowerCase()] ?? 1, from, to);
    }
    if (!weights.some(Boolean)) throw new Error("with all of it taken out, there is nothing left to read");
    return weights;
  }

  /** Words that no caption of the training had: the tokenizer has them in pieces only. */
  unknown(sentence) {
    const words = sentence.toLowerCase().normalize("NFC").match(/\p{L}+(?:['’]\p{L}+)?/gu) ?? [];
    const whole = (part) => this.tokenizer.encode(part).ids.length === 3;
    const known = (word) => word.match(/'(?:s|t|re|ve|m|ll|d)$|\p{L}+/gu).every(whole);
    return [...new Set(words)].filter((word) => !known(word));
  }
}
