// What the page asks of the model, answered beside the page, so that the page never stands still.

import { Artist } from "./draw.js";

const artist = new Artist();

/** Base64 of gzipped bytes -> bytes. */
async function unpacked(text) {
  const { body } = await fetch(`data:;base64,${text}`);
  const stream = body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const answers = {
  take: async ({ name, text }) => artist.take(name, await unpacked(text)),
  unknown: ({ sentence }) => artist.words.unknown(sentence),
  spans: ({ sentence }) => artist.words.spans(sentence),
  draw: ({ id, every, ...asked }) =>
    artist.draw(asked, (step, pixels) => postMessage({ id, step, pixels }), every),
};

async function answer({ id, ask, ...asked }) {
  try {
    postMessage({ id, done: await answers[ask]({ id, ...asked }) });
  } catch (error) {
    postMessage({ id, wrong: String(error?.message ?? error) });
  }
}

let turn = Promise.resolve(); // one after the other, as they were asked
self.onmessage = ({ data }) => (turn = turn.then(() => answer(data)));
