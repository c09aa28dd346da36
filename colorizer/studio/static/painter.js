// What can be done with a sketch's hints: one method for each action, whichever key, button or pointer
// asks for it. Says what was done in words.

import { draw, pickColour } from "./canvas.js";
import { Hints, MAX_DOTS } from "./hints.js";
import { View } from "./view.js";

const SHOWN = ["colours", "both", "sketch"];
const TALLEST = 0.7; // of the window
const LEAST_TALL_PX = 260;
const REACH_PX = 10; // a hint is hit this near to its centre at least
const CROSS_STEP_PX = 8;
const ZOOM_STEP = 1.5;
const BRUSH_STEP = 1.25;
const MAX_RECENT = 6;

export class Painter {
  hints = new Hints();
  size = null; // of the sketch; null: there is nothing to paint on
  sketch = null; // pictures to draw; null: there is none, or the browser can't draw it
  colours = null;
  shown = "colours";
  areHintsShown = true;
  colour = "#e0a070";
  recent = [];
  radius = 3;
  maxRadius = 16;
  brush = null; // where the pointer is on the canvas
  cross = null; // where the keyboard is
  isPicking = false;
  isSpaceDown = false;
  isDrawing = false;
  #view = new View();
  #isDrawn = true; // as it is now

  // say(text); changed(): the hints did; refreshed(): what buttons show did
  constructor(element, { say, changed, refreshed }) {
    this.element = element;
    Object.assign(this, { say, changed, refreshed });
    // in the next frame: a new height is a new size
    new ResizeObserver(() => requestAnimationFrame(() => this.#resize())).observe(element);
    element.addEventListener("focus", () => { if (element.matches(":focus-visible")) this.#showCross(); });
    element.addEventListener("blur", () => this.#set({ cross: null, isSpaceDown: false }));
  }

  // Another sketch: its hints, and nothing of the last one's, nor to undo.
  open(sketch, strokes = []) {
    this.hints = new Hints(strokes);
    this.colours?.close();
    Object.assign(this, { sketch, colours: null, brush: null, cross: null, isDrawing: false, isPicking: false });
    this.setSize(sketch && { width: sketch.width, height: sketch.height });
  }

  setSize(size) {
    this.size = size;
    if (size) {
      const longest = Math.max(size.width, size.height);
      this.maxRadius = Math.min(1000, Math.max(16, Math.ceil(longest / 16)));
      this.radius = Math.max(3, Math.round(longest / 200));
    }
    this.#resize();
    this.refreshed();
  }

  setColours(colours) {
    this.colours?.close(); // a large one holds 100 MB
    this.#set({ colours });
  }

  setSketch(sketch) { this.#set({ sketch }); }

  get isOpen() { return this.size !== null && this.element.clientWidth > 0; }

  get isWhole() { return this.#view.isWhole; }

  // ---- painting: places are CSS pixels of the canvas

  begin(place) {
    this.isDrawing = true;
    this.extend([place]);
  }

  extend(places) {
    for (const place of places) {
      const { x, y } = this.#view.toPicture(place.x, place.y);
      if (this.isDrawing && this.#isInside(x, y)) this.#addDots(x, y);
    }
    this.#edited();
  }

  #addDots(x, y) {
    const { hints } = this;
    if (hints.isDrawing ? hints.extend(x, y) : hints.begin(x, y, this.colour, this.radius)) return;
    this.say(`There are ${MAX_DOTS.toLocaleString("en")} dots, and no more are taken: remove some first.`);
    this.finish();
  }

  finish() {
    this.isDrawing = false;
    if (!this.hints.isDrawing) return; // all of it was outside
    const { number, points, isRecoloured } = this.hints.finish();
    this.#remember(this.colour);
    const [first, last] = [name(points[0]), name(points.at(-1))];
    const what = points.length > 1 ? `painted from ${first} to ${last}` : `placed at ${first}`;
    this.say(`Hint ${number} ${isRecoloured ? `is ${this.colour} now` : what}.`);
    this.#edited();
  }

  cancel() {
    this.isDrawing = false;
    this.hints.cancel();
    this.#edited();
  }

  hasHintAt(place) { return this.#find(this.#view.toPicture(place.x, place.y)) > 0; }

  removeAt(place) { this.#remove(this.#view.toPicture(place.x, place.y)); }

  pickAt(place) { this.#pick(this.#view.toPicture(place.x, place.y)); }

  endPicking() {
    this.say(`The colour is ${this.colour}.`);
    this.#set({ isPicking: false });
  }

  hover(place) {
    this.#set({ brush: place, ...(place && { cross: null }) }, false);
  }

  // ---- the same by keyboard, at the crosshair

  moveCross(across, down) {
    this.#showCross();
    const step = Math.max(1, Math.round(CROSS_STEP_PX / this.#view.scale));
    const { width, height } = this.size;
    this.cross = {
      x: Math.min(Math.max(this.cross.x + across * step, 0), width - 1),
      y: Math.min(Math.max(this.cross.y + down * step, 0), height - 1),
    };
    this.#view.reveal(this.cross.x, this.cross.y);
    const number = this.#find(this.cross);
    this.say(`${name(this.cross)}${number ? `, hint ${number}` : ""}`);
    this.#redraw();
  }

  placeAtCross() {
    this.#showCross();
    this.isDrawing = true;
    this.#addDots(this.cross.x, this.cross.y);
    this.finish();
  }

  removeAtCross() {
    this.#showCross();
    this.#remove(this.cross);
  }

  // Without a crosshair the next press picks.
  pick() {
    if (!this.cross) {
      this.#set({ isPicking: !this.isPicking });
      return;
    }
    this.#pick(this.cross);
    this.endPicking();
  }

  #showCross() {
    if (this.cross) return;
    const { x, y } = this.#view.toPicture(this.element.clientWidth / 2, this.element.clientHeight / 2);
    this.#set({ cross: { x: Math.floor(x), y: Math.floor(y) }, brush: null }, false);
  }

  // ---- all hints

  undo() { this.#step(this.hints.undo(), "Undone", "There is nothing to undo."); }

  redo() { this.#step(this.hints.redo(), "Done again", "There is nothing to do again."); }

  clear() {
    if (!this.hints.strokes.length) return;
    this.replace([]);
    this.say("All hints are removed; Undo brings them back.");
  }

  replace(strokes) {
    this.hints.replace(strokes);
    this.#edited();
  }

  #step(isDone, done, otherwise) {
    this.say(isDone ? `${done}: ${countHints(this.hints.strokes.length)}.` : otherwise);
    if (isDone) this.#edited();
  }

  // ---- tools and view

  setColour(colour) { this.#set({ colour, isPicking: false }); }

  setRadius(radius) { this.#set({ radius: Math.min(Math.max(Math.round(radius), 1), this.maxRadius) }); }

  changeBrush(direction) {
    const { radius } = this;
    const next = Math.round(radius * BRUSH_STEP ** direction);
    this.setRadius(next === radius ? radius + direction : next);
    this.say(`Brush radius: ${this.radius} px.`);
  }

  leaveWhite() {
    this.setColour("#ffffff");
    this.say("The brush is white: what it touches is left white.");
  }

  toggleHints() {
    this.#set({ areHintsShown: !this.areHintsShown });
    this.say(this.areHintsShown ? "The hints are shown." : "The hints are hidden; the picture keeps them.");
  }

  show(shown) { this.#set({ shown }); }

  showNext() {
    if (!this.sketch) return;
    this.show(SHOWN[(SHOWN.indexOf(this.shown) + 1) % SHOWN.length]);
    this.say(`Shown: ${this.shown}.`);
  }

  zoom(factor, x, y) {
    this.#view.zoom(factor, x, y);
    this.#redraw();
  }

  zoomStep(direction) {
    const at = this.cross && this.#view.toCanvas(this.cross.x, this.cross.y);
    this.zoom(ZOOM_STEP ** direction, at?.x, at?.y);
    this.say(`Zoom: ${Math.round(this.#view.scale * 100)} %.`);
  }

  showWhole() {
    this.#view.fit();
    this.#redraw();
  }

  pan(across, down) {
    this.#view.pan(across, down);
    this.#redraw();
  }

  // ---- inside

  #isInside(x, y) { return x >= 0 && y >= 0 && x < this.size.width && y < this.size.height; }

  #find({ x, y }) { return this.hints.find(x, y, REACH_PX / this.#view.scale); }

  #remove(point) {
    const number = this.#find(point);
    this.say(number ? `Hint ${number} removed.` : `There is no hint at ${name(point)}.`);
    if (!number) return;
    this.hints.remove(number);
    this.#edited();
  }

  #pick({ x, y }) {
    if (this.#isInside(x, y)) this.#set({ colour: pickColour(this, x, y) });
  }

  #remember(colour) {
    if (this.recent[0] === colour) return;
    this.recent = [colour, ...this.recent.filter((each) => each !== colour)].slice(0, MAX_RECENT);
  }

  #set(values, isOnButtons = true) {
    Object.assign(this, values);
    if (isOnButtons) this.refreshed();
    this.#redraw();
  }

  #edited() {
    this.refreshed();
    this.#redraw();
    this.changed();
  }

  #resize() {
    const { element, size } = this;
    const width = element.clientWidth;
    if (!size || !width) return;
    const wanted = Math.max(LEAST_TALL_PX, width * size.height / size.width);
    const height = Math.round(Math.min(TALLEST * innerHeight, wanted));
    element.style.height = `${height}px`;
    element.width = Math.round(width * devicePixelRatio);
    element.height = Math.round(height * devicePixelRatio);
    this.#view.resize({ width, height }, size);
    draw(element, this, this.#view); // at once: an emptied canvas flickers
  }

  #redraw() {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    requestAnimationFrame(() => {
      this.#isDrawn = true;
      draw(this.element, this, this.#view);
    });
  }
}

function name({ x, y }) { return `${Math.floor(x)}, ${Math.floor(y)}`; }

export function countHints(number) { return number === 1 ? "1 hint" : `${number} hints`; }
