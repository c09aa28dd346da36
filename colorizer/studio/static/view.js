// Which part of the picture the canvas shows, and how large. Lengths on the canvas are CSS pixels.

const LARGEST = 32; // CSS pixels for one of the picture's
const MARGIN = 24; // that stays between the crosshair and the canvas' edge

export class View {
  scale = 1; // CSS pixels for one of the picture's
  left = 0; // of the picture's corner on the canvas
  top = 0;
  #box = { width: 1, height: 1 };
  #size = { width: 1, height: 1 };

  get #whole() {
    return Math.min(this.#box.width / this.#size.width, this.#box.height / this.#size.height);
  }

  get isWhole() { return this.scale <= this.#whole * 1.001; }

  // Another canvas or picture: what was shown whole still is.
  resize(box, size) {
    const wasWhole = this.isWhole || size !== this.#size;
    this.#box = box;
    this.#size = size;
    if (wasWhole) this.fit();
    else this.#keepInside();
  }

  fit() {
    this.scale = this.#whole;
    this.#keepInside();
  }

  // Zooms about a point of the canvas, its middle by default.
  zoom(factor, x = this.#box.width / 2, y = this.#box.height / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.#whole), Math.max(LARGEST, this.#whole));
    this.left = x - (x - this.left) * scale / this.scale;
    this.top = y - (y - this.top) * scale / this.scale;
    this.scale = scale;
    this.#keepInside();
  }

  pan(across, down) {
    this.left += across;
    this.top += down;
    this.#keepInside();
  }

  // Pans until a point of the picture is seen.
  reveal(x, y) {
    const place = this.toCanvas(x, y);
    const outside = (value, length) => Math.max(0, MARGIN - value) - Math.max(0, value - length + MARGIN);
    this.pan(outside(place.x, this.#box.width), outside(place.y, this.#box.height));
  }

  toPicture(x, y) { return { x: (x - this.left) / this.scale, y: (y - this.top) / this.scale }; }

  toCanvas(x, y) { return { x: x * this.scale + this.left, y: y * this.scale + this.top }; }

  #keepInside() {
    this.left = keepInside(this.left, this.#box.width, this.#size.width * this.scale);
    this.top = keepInside(this.top, this.#box.height, this.#size.height * this.scale);
  }
}

function keepInside(start, room, length) {
  if (length <= room) return (room - length) / 2;
  return Math.min(0, Math.max(room - length, start));
}
