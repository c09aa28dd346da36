// A sketch's file, what the browser can draw of it, and a reduced one for previews.

import { nameOf } from "./visit.js";

const MAX_PREVIEW_PX = 1024;

export class Sketch {
  #reduced = null;

  constructor(blob, picture, hintsName) {
    this.blob = blob;
    this.picture = picture; // upright; null if the browser can't draw such a file
    this.hintsName = hintsName; // of what the visit keeps for it, or null
  }

  get isLarge() {
    return this.picture !== null && Math.max(this.picture.width, this.picture.height) > MAX_PREVIEW_PX;
  }

  // At most 1,024 px a side: { blob, width, height }.
  reduce() { return this.#reduced ??= reduce(this.picture); }
}

export async function openSketch(blob) {
  return new Sketch(blob, await drawable(blob), await nameOf(blob));
}

// The file as a picture to draw, or null.
export function drawable(blob) { return createImageBitmap(blob).catch(() => null); }

async function reduce(picture) {
  const scale = MAX_PREVIEW_PX / Math.max(picture.width, picture.height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve); });
  return { blob, width: canvas.width, height: canvas.height };
}
