// The painter's buttons: what they do, and what they show of its state.

import { countHints } from "./painter.js";

const by = (id) => document.getElementById(id);

export function connectTools(painter) {
  const onClick = {
    white: () => painter.leaveWhite(),
    pick: () => painter.pick(),
    undo: () => painter.undo(),
    redo: () => painter.redo(),
    clear: () => painter.clear(),
    hide: () => painter.toggleHints(),
    larger: () => painter.zoomStep(1),
    smaller: () => painter.zoomStep(-1),
    whole: () => painter.showWhole(),
  };
  for (const [id, act] of Object.entries(onClick)) by(id).addEventListener("click", act);
  by("hint-colour").addEventListener("input", ({ target }) => painter.setColour(target.value));
  by("brush").addEventListener("input", ({ target }) => painter.setRadius(Number(target.value)));
  by("shown").addEventListener("change", ({ target }) => painter.show(target.value));
  by("recent").addEventListener("click", ({ target }) => {
    const colour = target.closest("button")?.value;
    if (colour) painter.setColour(colour);
  });
}

export function showTools(painter) {
  const { hints, size } = painter;
  by("hint-colour").value = painter.colour;
  by("brush").max = painter.maxRadius;
  by("brush").value = painter.radius;
  by("brush-size").textContent = `${painter.radius} px`;
  showAbility("undo", hints.canUndo);
  showAbility("redo", hints.canRedo);
  for (const id of ["clear", "save-hints"]) showAbility(id, hints.strokes.length > 0);
  by("pick").setAttribute("aria-pressed", painter.isPicking);
  by("hide").setAttribute("aria-pressed", !painter.areHintsShown);
  by("shown").value = painter.shown;
  for (const option of by("shown").options) option.disabled = option.value !== "colours" && !painter.sketch;
  by("undrawn").hidden = Boolean(painter.sketch) || !size;
  by("count").textContent = countHints(hints.strokes.length);
  showRecent(painter.recent);
}

// not disabled: that would take the keyboard away from who presses it
function showAbility(id, isAble) { by(id).setAttribute("aria-disabled", !isAble); }

function showRecent(colours) {
  const shown = [...by("recent").children].map((button) => button.value);
  if (String(shown) === String(colours)) return;
  by("recent").replaceChildren(...colours.map((colour) => {
    const button = Object.assign(document.createElement("button"), { type: "button", value: colour, title: colour });
    button.setAttribute("aria-label", `Colour ${colour}`);
    button.style.backgroundColor = colour;
    return button;
  }));
}
