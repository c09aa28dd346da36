// The keyboard on the canvas; undo and redo on the whole page.

const PAN_PX = 60;
const KEYS = {
  ArrowLeft: (painter) => painter.moveCross(-1, 0),
  ArrowRight: (painter) => painter.moveCross(1, 0),
  ArrowUp: (painter) => painter.moveCross(0, -1),
  ArrowDown: (painter) => painter.moveCross(0, 1),
  Enter: (painter) => painter.placeAtCross(),
  Delete: (painter) => painter.removeAtCross(),
  Backspace: (painter) => painter.removeAtCross(),
  "[": (painter) => painter.changeBrush(-1),
  "]": (painter) => painter.changeBrush(1),
  "+": (painter) => painter.zoomStep(1),
  "=": (painter) => painter.zoomStep(1),
  "-": (painter) => painter.zoomStep(-1),
  0: (painter) => painter.showWhole(),
  x: (painter) => painter.toggleHints(),
  w: (painter) => painter.leaveWhite(),
  i: (painter) => painter.pick(),
  s: (painter) => painter.showNext(),
};
const PANS = {
  ArrowLeft: [PAN_PX, 0], ArrowRight: [-PAN_PX, 0], ArrowUp: [0, PAN_PX], ArrowDown: [0, -PAN_PX],
};

export function listenToKeys(element, painter) {
  let wasDragged = false; // with Space down: then it puts no dot
  element.addEventListener("pointerdown", () => { wasDragged = true; });
  element.addEventListener("keydown", (event) => {
    if (isShortcut(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = key === " " ? startSpace : event.shiftKey && PANS[key] ? pan : KEYS[key];
    if (!act) return;
    event.preventDefault();
    act(painter, event);
  });
  element.addEventListener("keyup", (event) => {
    if (event.key !== " " || !painter.isSpaceDown) return;
    painter.isSpaceDown = false;
    if (!wasDragged) painter.placeAtCross();
  });
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey || !painter.isOpen || !"zy".includes(key)) return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) painter.redo();
    else painter.undo();
  });

  function startSpace(_, { repeat }) {
    if (repeat) return;
    painter.isSpaceDown = true;
    wasDragged = false;
  }
}

function pan(painter, { key }) { painter.pan(...PANS[key]); }

// of the browser; some keyboards have brackets on AltGr, which is Ctrl and Alt at once
function isShortcut(event) {
  return (event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph");
}
