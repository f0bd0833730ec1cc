// The model beside the page: its parts arrive as scripts, its answers come from a worker.

const HERE = document.currentScript.src.replace(/[^/]*$/, "");
const awaited = new Map();
window.whiteBear = (name, text) => awaited.get(name)(text);

/** The content of a part's script, which calls `whiteBear(name, content)`. */
function fetched(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    awaited.set(name, resolve);
    script.src = `${HERE}${name}.js`;
    script.onload = () => script.remove();
    script.onerror = () => reject(new Error(`${name}.js could not be loaded`));
    document.head.append(script);
  });
}

/** What keeps this browser from drawing, in a line; "" where nothing does. */
export function lacking() {
  if (!window.WebAssembly) return "This browser has no WebAssembly";
  if (!window.Worker || !window.DecompressionStream) return "This browser is too old to draw";
  return "";
}

/** The pocket model; `load` it, then `ask` what worker.js answers. */
export class Model {
  constructor() {
    this.loaded = new Map();
    this.open = new Map();
    this.count = 0;
  }

  /** Load parts by name, each once, in order. told: is called with the share that is there. */
  async load(names, told = () => {}) {
    const size = (some) => some.reduce((sum, name) => sum + BOOK.sizes[name], 0);
    const whole = size(names);
    for (const [i, name] of names.entries()) {
      if (!this.loaded.has(name)) this.loaded.set(name, this.take(name, await fetched(name)));
      await this.loaded.get("engine");
      told(size(names.slice(0, i + 1)) / whole);
    }
    await Promise.all(names.map((name) => this.loaded.get(name)));
  }

  async take(name, text) {
    if (name !== "engine") return this.ask("take", { name, text });
    const stream = (await (await fetch(`data:;base64,${text}`)).blob()).stream();
    const code = await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
    this.worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => {
      for (const { reject } of this.open.values()) reject(new Error(event.message));
    };
  }

  /** The worker's answer; shown: is called with each preview on the way. */
  ask(ask, asked, shown = () => {}) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject, shown });
      this.worker.postMessage({ id, ask, ...asked });
    });
  }

  hear({ id, done, wrong, step, pixels }) {
    const { resolve, reject, shown } = this.open.get(id);
    if (pixels) return shown(step, pixels);
    this.open.delete(id);
    if (wrong) reject(new Error(wrong));
    else resolve(done);
  }
}
