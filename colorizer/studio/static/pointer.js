// Mouse, touch and pen on the canvas: what they do becomes calls of the painter's methods.
//
// One finger, the pen or the left button paints; two fingers, the middle button or a drag with Space
// move the picture; the right button, the pen's other end or a long press remove a hint.

const LONG_PRESS_MS = 600;
const STILL_PX = { mouse: 3, pen: 4, touch: 8 }; // a press that moves less is a dot
const PALM_MS = 800; // after the pen was near, touch is a palm
const [LEFT, MIDDLE, RIGHT, ERASER] = [0, 1, 2, 5];
const WHEEL_ZOOM = 0.0015;

export class Pointer {
  #painter;
  #press = null; // what is held down: { id, kind, x, y, hasMoved, timer }
  #fingers = new Map(); // pointer → its place
  #penSeenMs = -Infinity;

  constructor(element, painter) {
    this.element = element;
    this.#painter = painter;
    const on = (kind, handle, options) => element.addEventListener(kind, (event) => handle.call(this, event), options);
    on("pointerdown", this.#down);
    on("pointermove", this.#move);
    on("pointerup", this.#up);
    on("pointercancel", this.#cancel);
    on("pointerleave", () => painter.hover(null));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", this.#wheel, { passive: false });
  }

  #isPalm(event) {
    if (event.pointerType === "pen") this.#penSeenMs = event.timeStamp;
    return event.pointerType === "touch" && event.timeStamp - this.#penSeenMs < PALM_MS;
  }

  #down(event) {
    if (this.#isPalm(event)) return;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    if (event.pointerType === "pen") this.#fingers.clear();
    if (event.pointerType === "touch") this.#fingers.set(event.pointerId, placeOf(event));
    this.#drop();
    if (this.#fingers.size > 1) return; // they move the picture
    const place = placeOf(event);
    const kind = this.#kindOf(event);
    if (!kind) return;
    event.preventDefault(); // the middle button scrolls
    this.#press = { id: event.pointerId, kind, ...place, hasMoved: false };
    if (kind === "remove") this.#painter.removeAt(place);
    if (kind === "pick") this.#painter.pickAt(place);
    if (kind === "paint" && event.pointerType !== "mouse") {
      this.#press.timer = setTimeout(() => this.#hold(place), LONG_PRESS_MS);
    }
  }

  #kindOf({ button, altKey, ctrlKey }) {
    if (button === MIDDLE || (button === LEFT && this.#painter.isSpaceDown)) return "pan";
    if (button === RIGHT || button === ERASER || (button === LEFT && ctrlKey)) return "remove";
    if (button !== LEFT) return null;
    return this.#painter.isPicking || altKey ? "pick" : "paint";
  }

  // A long press beside the hints is a dot, once it is released.
  #hold(place) {
    if (this.#painter.hasHintAt(place)) {
      this.#press.kind = "remove";
      this.#painter.removeAt(place);
    }
  }

  #move(event) {
    if (this.#isPalm(event)) return;
    const place = placeOf(event);
    if (event.pointerType !== "touch") this.#painter.hover(place);
    if (this.#fingers.has(event.pointerId)) {
      if (this.#fingers.size === 2) this.#pinch(event.pointerId, place);
      this.#fingers.set(event.pointerId, place);
    }
    const press = this.#press;
    if (press?.id !== event.pointerId) return;
    if (press.kind === "pan") this.#pan(place);
    if (press.kind === "pick") this.#painter.pickAt(place);
    if (press.kind === "paint") this.#paint(event, place);
  }

  #pan(place) {
    this.#painter.pan(place.x - this.#press.x, place.y - this.#press.y);
    Object.assign(this.#press, place);
  }

  #paint(event, place) {
    const press = this.#press;
    if (!press.hasMoved) {
      if (Math.hypot(place.x - press.x, place.y - press.y) <= STILL_PX[event.pointerType]) return;
      press.hasMoved = true;
      clearTimeout(press.timer);
      this.#painter.begin(press);
    }
    const passed = event.getCoalescedEvents?.() ?? [];
    this.#painter.extend(passed.length ? passed.map(placeOf) : [place]);
  }

  // Two fingers: the picture follows their middle and grows with their distance.
  #pinch(id, place) {
    const before = this.#fingers.get(id);
    const [other] = [...this.#fingers].filter(([each]) => each !== id).map(([, each]) => each);
    const length = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.#painter.pan((place.x - before.x) / 2, (place.y - before.y) / 2);
    this.#painter.zoom(length(place) / length(before), (place.x + other.x) / 2, (place.y + other.y) / 2);
  }

  #up(event) {
    this.#fingers.delete(event.pointerId);
    const press = this.#press;
    if (press?.id !== event.pointerId) return;
    clearTimeout(press.timer);
    this.#press = null;
    if (press.kind === "pick") this.#painter.endPicking();
    if (press.kind !== "paint") return;
    if (!press.hasMoved) this.#painter.begin(press);
    this.#painter.finish();
  }

  #cancel(event) {
    this.#fingers.delete(event.pointerId);
    if (this.#press?.id === event.pointerId) this.#drop();
  }

  // Another finger or pen came: what was begun doesn't count.
  #drop() {
    if (!this.#press) return;
    clearTimeout(this.#press.timer);
    if (this.#press.kind === "paint" && this.#press.hasMoved) this.#painter.cancel();
    this.#press = null;
  }

  #wheel(event) {
    if (event.deltaY > 0 && this.#painter.isWhole) return; // the page scrolls on
    event.preventDefault();
    const { x, y } = placeOf(event);
    this.#painter.zoom(Math.exp(-event.deltaY * WHEEL_ZOOM), x, y);
  }
}

function placeOf({ clientX, clientY, target }) {
  const box = target.getBoundingClientRect();
  return { x: clientX - box.left, y: clientY - box.top };
}
