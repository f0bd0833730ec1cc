// From a sentence to the numbers that the text encoder reads.

export const POSITIONS = 77;

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

  /** Tokens as the reader knows them: [text, first, last + 1], a word in one piece. */
  spans(sentence) {
    const spans = [["start", 0, 1]];
    let at = 1;
    for (const part of sentence.trim().split(/\s+/u).filter(Boolean)) {
      const many = this.tokenizer.encode(part).ids.length - 2;
      spans.push([part, at, (at += many)]);
    }
    return [...spans, ["end", at, at + 1], ["padding", at + 1, POSITIONS]];
  }

  /** Words that no caption of the training had: the tokenizer has them in pieces only. */
  unknown(sentence) {
    const words = sentence.toLowerCase().normalize("NFC").match(/\p{L}+(?:['’]\p{L}+)?/gu) ?? [];
    const whole = (part) => this.tokenizer.encode(part).ids.length === 3;
    const known = (word) => word.match(/'(?:s|t|re|ve|m|ll|d)$|\p{L}+/gu).every(whole);
    return [...new Set(words)].filter((word) => !known(word));
  }
}
