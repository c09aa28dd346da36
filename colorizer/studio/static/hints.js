// The hints of one sketch: strokes, each a row of dots of one colour and radius, with undo and redo.
// Coordinates are pixels of the sketch.

export const MAX_DOTS = 10_000; // the server takes no more
const STEP_IN_RADII = 0.7; // between a stroke's dots: they overlap

export class Hints {
  #done = []; // an edit replaces the list, so that earlier lists stay as they were
  #drawn = null; // the stroke that is being drawn; it isn't in the list yet
  #past = [];
  #future = [];

  constructor(strokes = []) { this.#done = strokes; }

  get strokes() { return this.#drawn ? [...this.#done, this.#drawn] : this.#done; }
  get numDots() { return this.strokes.reduce((sum, { points }) => sum + points.length, 0); }
  get isDrawing() { return this.#drawn !== null; }
  get canUndo() { return this.#past.length > 0; }
  get canRedo() { return this.#future.length > 0; }

  #change(strokes) {
    this.#past.push(this.#done);
    this.#future = [];
    this.#done = strokes;
  }

  // Begins a stroke by its first dot; false if there are too many dots.
  begin(x, y, colour, radius) {
    if (this.numDots >= MAX_DOTS) return false;
    this.#drawn = { colour, radius, points: [{ x, y }] };
    return true;
  }

  // Adds dots up to a point; false if there are too many.
  extend(x, y) {
    const { points, radius } = this.#drawn;
    const step = stepOf(radius);
    let last = points.at(-1);
    let room = MAX_DOTS - this.numDots;
    for (let rest = distance(last, { x, y }); rest >= step; rest = distance(last, { x, y })) {
      if (room-- <= 0) return false;
      last = { x: last.x + (x - last.x) * step / rest, y: last.y + (y - last.y) * step / rest };
      points.push(last);
    }
    return true;
  }

  // Ends the stroke. A dot on another dot gives that its colour instead.
  finish() {
    const stroke = this.#drawn;
    const { points, colour } = stroke;
    this.#drawn = null;
    const isUnder = (other) => other.points.length === 1 && other.colour !== colour
      && distance(other.points[0], points[0]) <= other.radius;
    const under = points.length === 1 ? this.#done.findLastIndex(isUnder) : -1;
    if (under < 0) this.#change([...this.#done, stroke]);
    else this.#change(this.#done.with(under, { ...this.#done[under], colour }));
    return { number: under < 0 ? this.#done.length : under + 1, points, isRecoloured: under >= 0 };
  }

  cancel() { this.#drawn = null; }

  // The number of the uppermost stroke at a place, from 1; 0 if there is none.
  find(x, y, reach) {
    const isHit = ({ points, radius }) =>
      points.some((point) => distance(point, { x, y }) <= Math.max(radius, reach));
    return this.#done.findLastIndex(isHit) + 1;
  }

  remove(number) { this.#change(this.#done.toSpliced(number - 1, 1)); }

  replace(strokes) { this.#change(strokes); }

  undo() {
    if (!this.canUndo) return false;
    this.#future.push(this.#done);
    this.#done = this.#past.pop();
    return true;
  }

  redo() {
    if (!this.canRedo) return false;
    this.#past.push(this.#done);
    this.#done = this.#future.pop();
    return true;
  }

  // As the server takes them, for the sketch at this size; it may be reduced.
  toJson(size, reduced = size) {
    const [across, down] = [reduced.width / size.width, reduced.height / size.height];
    const hints = this.strokes.flatMap(({ colour, radius, points }) => points.map(({ x, y }) => ({
      x: shorten(x * across), y: shorten(y * down), colour, radius: Number((radius * across).toFixed(2)) || 0.01,
    })));
    return JSON.stringify({ width: reduced.width, height: reduced.height, hints });
  }
}

// A file's dots as strokes: dots in a row, near enough to be drawn in one go, are one.
export function joinDots(dots) {
  const strokes = [];
  for (const { x, y, colour, radius } of dots) {
    const stroke = strokes.at(-1);
    const isNext = stroke && stroke.colour === colour && stroke.radius === radius
      && distance(stroke.points.at(-1), { x, y }) <= stepOf(radius) + 0.1;
    if (isNext) stroke.points.push({ x, y });
    else strokes.push({ colour, radius, points: [{ x, y }] });
  }
  return strokes;
}

function stepOf(radius) { return Math.max(1, STEP_IN_RADII * radius); }

function distance(one, other) { return Math.hypot(one.x - other.x, one.y - other.y); }

// down, never up: a dot at the edge stays inside
function shorten(value) { return Math.floor(value * 100) / 100; }
