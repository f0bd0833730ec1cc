// What a reader takes along: the counts as a table, the pictures as one.

import { percent } from "./tally.js";

const COLUMNS = [
  "model", "kind", "prompt", "weigh", "negative", "concept", "seed", "steps", "guidance", "probability", "present",
];
const [PICTURE, GAP, LINE, INK, PAPER] = [128, 8, 34, "#24303a", "#ffffff"];

/** Rows as CSV, with a head. */
export function csv(rows) {
  const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const lines = rows.map((row) => COLUMNS.map((name) => cell(row[name])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\n");
}

/** Lanes as one picture: of each its sentence, its pictures, eight in a row, and the count. */
export function card(lanes) {
  const across = 8;
  const canvas = document.createElement("canvas");
  const heights = lanes.map((lane) => 2 * LINE + 3 * GAP + Math.ceil(lane.pictures.length / across) * (PICTURE + GAP));
  canvas.width = across * (PICTURE + GAP) + 3 * GAP;
  canvas.height = heights.reduce((a, b) => a + b, 4 * GAP + LINE);
  const pen = canvas.getContext("2d");
  Object.assign(pen, { fillStyle: PAPER, imageSmoothingEnabled: false });
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const write = (text, y, style) => {
    Object.assign(pen, { fillStyle: INK, font: `${style} system-ui, sans-serif` });
    pen.fillText(text, 2 * GAP, y, canvas.width - 4 * GAP);
  };
  let y = 2 * GAP;
  for (const [i, lane] of lanes.entries()) {
    write(`${lane.name}: ${lane.noun} in ${lane.k} of ${lane.n} (${percent(lane.k / lane.n)})`, y + 24, "18px");
    write(`“${lane.sentence}”`, y + LINE + 24, "bold 24px");
    for (const [j, picture] of lane.pictures.entries()) {
      const row = Math.floor(j / across);
      const top = y + 2 * LINE + row * (PICTURE + GAP);
      pen.drawImage(picture, 2 * GAP + (j % across) * (PICTURE + GAP), top, PICTURE, PICTURE);
    }
    y += heights[i];
  }
  write("Same noise in a column. The pocket model of White Bear, a book; drawn in a browser.", y + 16, "16px");
  return canvas;
}

/** Hand a file to the reader. */
export function handed(name, blob) {
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
