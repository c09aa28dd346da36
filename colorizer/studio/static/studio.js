// The studio's page: one sketch, its options and hints, and the coloured pictures.

import { joinDots } from "./hints.js";
import { listenToKeys } from "./keys.js";
import { runLatest } from "./latest.js";
import { Painter, countHints } from "./painter.js";
import { Pointer } from "./pointer.js";
import { findModels, findPalette, postSketch, readHints } from "./server.js";
import { drawable, openSketch } from "./sketch.js";
import { connectTools, showTools } from "./toolbar.js";
import { keep, recall } from "./visit.js";

const by = (id) => document.getElementById(id);
const look = by("look");
const METRICS = [
  { key: "l1", name: "L1 (less is better)" },
  { key: "chroma", name: "Chroma error (less is better)" },
  { key: "psnr", name: "PSNR, dB (more is better)" },
  { key: "ssim", name: "SSIM (more is better)" },
];
const ADVICE = {
  "paper-is-transparent": " The sketch's paper is transparent, and so are its colours: fill transparent areas with white to see them.",
  "coloured-already": "This picture is coloured already, so it is shown as it is. To colour it all the same, tick “Colour it also if it is coloured already”.",
};
const WHOLE_AFTER_MS = 1000; // without painting, a large sketch is coloured at its full size
const WHOLE_AGAIN_MS = 5000; // the same if painting went on before it was: the server still works at it
const HINT_FILE = /\.(json|ora)$|\.hints\.png$/i;
const painter = new Painter(by("canvas"), {
  say: (text) => { by("said").textContent = text; },
  changed: hintsChanged,
  refreshed: () => showTools(painter),
});
let sketch = null; // a Sketch
let newest = null; // the Blob that was chosen last; it may not be open yet
let isNew = false; // the sketch's picture wasn't shown yet
let seed = null;
let isCleanOfExample = false; // cleaning was chosen by an example, not by the artist
let models = [];
let lines = {}; // the server's drawing of the sketch, and what it was asked for with
let wanted = 0; // counts what was asked for
let isPreviewEnough = false; // for what was asked for last
let current = {}; // which of these the picture is, and whether it's a preview
let askedHints = "";
let wholeTimer = 0;
let wholeRestMs = WHOLE_AFTER_MS;
let running = null; // the requests under way: { isPreview, controller }
const ask = runLatest(colourNow);
const urls = new Map(); // element → object URL, revoked when it's replaced

function show(element, blob) {
  if (urls.has(element)) URL.revokeObjectURL(urls.get(element));
  const url = URL.createObjectURL(blob);
  urls.set(element, url);
  if (element.tagName === "A") element.href = url;
  else element.src = url;
}

function setStatus(text, isError = false) {
  by("state").textContent = text;
  by("state").classList.toggle("error", isError);
}

function makeQuery(model, extra = {}) {
  const form = new FormData(look);
  const query = new URLSearchParams({ line_strength: form.get("line_strength"), ...extra });
  if (model) query.set("model", model);
  for (const option of ["clean", "opaque"]) if (form.get(option)) query.set(option, "true");
  if (form.get("recolour")) query.set("coloured", "colour");
  if (seed !== null) query.set("seed", seed);
  if (form.get("use_palette")) {
    query.set("palette", form.getAll("colour").join(","));
    if (form.get("keep_skin")) query.set("keep_skin", "true");
  }
  return query;
}

// The sketch alone, or a form with its hints.
async function makeBody(modelName, isPreview) {
  const reduced = isPreview ? await sketch.reduce() : null;
  const picture = reduced?.blob ?? sketch.blob;
  if (!painter.hints.strokes.length || !findModel(modelName)?.takes_hints) return picture;
  const form = new FormData();
  form.set("file", picture, "sketch");
  form.set("hints", painter.hints.toJson(painter.size, reduced ?? painter.size));
  return form;
}

async function requestPicture(model, extra = {}, isPreview = false, signal = null) {
  return postSketch(makeQuery(model, extra), await makeBody(model, isPreview), signal);
}

// An option changed, or the sketch: its picture at full size.
function colour() {
  if (!sketch) return;
  setStatus("Colouring…");
  clearTimeout(wholeTimer);
  want(false);
}

function want(isPreview) {
  wanted += 1;
  isPreviewEnough = isPreview;
  by("result").setAttribute("aria-busy", "true");
  ask();
}

// The hints changed: at once a picture, of a large sketch a preview, and its full size after a rest.
function hintsChanged() {
  const hints = painter.hints.toJson(painter.size);
  clearTimeout(wholeTimer);
  if (hints !== askedHints) {
    askedHints = hints;
    if (sketch.isLarge) dropWhole();
    want(sketch.isLarge);
  }
  if (painter.isDrawing) return;
  if (sketch.isLarge) wholeTimer = setTimeout(colour, wholeRestMs);
  if (sketch.hintsName) keep(sketch.hintsName, JSON.parse(hints));
  keep("recent colours", painter.recent);
}

// A preview doesn't wait for a picture at full size, which takes seconds.
function dropWhole() {
  if (!running || running.isPreview) return;
  running.controller.abort();
  wholeRestMs = WHOLE_AGAIN_MS;
}

async function colourNow() {
  const [number, isPreview, coloured] = [wanted, isPreviewEnough, sketch];
  const controller = new AbortController();
  running = { isPreview, controller };
  const began = performance.now();
  try {
    const [first, second] = await requestPictures(isPreview, controller.signal);
    const before = isPreview ? null : await findLines(controller.signal);
    const picture = await drawable(first.blob);
    if (coloured !== sketch || controller.signal.aborted) return;
    current = { number, isPreview };
    if (!isPreview) wholeRestMs = WHOLE_AFTER_MS;
    showPictures(first, second, before);
    showOnCanvas(picture, isPreview ? null : before && await drawable(before));
    setStatus(describePicture(first, (performance.now() - began) / 1000, isPreview));
    if (isNew) {
      isNew = false;
      await by("after").decode().catch(() => {}); // its height is known only now
      by("picture").scrollIntoView({ block: "nearest" });
    }
  } catch (error) {
    if (coloured !== sketch || controller.signal.aborted) return;
    if (isNew) by("result").hidden = true; // it's another sketch's
    setStatus(`The sketch can't be coloured: ${error.message}`, true);
  } finally {
    running = null;
    by("result").setAttribute("aria-busy", number !== wanted);
  }
}

// Of the chosen model, and of the one to compare with. Ends when both have: a model has one request.
async function requestPictures(isPreview, signal) {
  const [name, other] = [by("model").value, by("other").value];
  const requests = [requestPicture(name, {}, isPreview, signal)];
  if (other) requests.push(other === name ? requests[0] : requestPicture(other, {}, isPreview, signal));
  const ended = await Promise.allSettled(requests);
  const failed = ended.find(({ reason }) => reason);
  if (failed) throw failed.reason;
  return ended.map(({ value }) => value);
}

// The sketch as the server drew it, if it was cleaned or the browser can't draw it; else null.
async function findLines(signal) {
  if (!look.elements.clean.checked && sketch.picture) return null;
  const key = String(makeQuery(by("model").value, { layer: "lines" }));
  if (lines.sketch !== sketch || lines.key !== key) {
    const { blob } = await requestPicture(by("model").value, { layer: "lines" }, false, signal);
    lines = { sketch, key, blob };
  }
  return lines.blob;
}

function showPictures(first, second, before) {
  show(by("before"), before ?? sketch.blob);
  show(by("after"), first.blob);
  show(by("png"), first.blob);
  by("caption").textContent = first.model;
  by("second").hidden = !second;
  if (second) {
    show(by("after-other"), second.blob);
    by("caption-other").textContent = second.model;
  }
  by("result").hidden = false;
}

function showOnCanvas(picture, drawnLines) {
  if (!current.isPreview) {
    const { width, height } = picture;
    // the server's size counts: of some files the browser draws another picture
    if (painter.size?.width !== width || painter.size?.height !== height) {
      sketch.picture = null;
      painter.open(null);
      painter.setSize({ width, height });
    }
    if (drawnLines) painter.setSketch(drawnLines);
  }
  painter.setColours(picture);
  showPainting();
}

function describePicture({ hint, pages, frames }, seconds, isPreview) {
  const more = isPreview ? " This is a preview; the full size follows." : "";
  const time = `Coloured in ${seconds.toFixed(1)} s.`;
  const done = hint === "coloured-already" ? ADVICE[hint] : `${time}${more}${ADVICE[hint] ?? ""}`;
  const others = pages ? ` The file holds ${pages} pages: this is the first; the command colorize colours all.` : "";
  return `${done}${others}${frames ? ` The file holds ${frames} frames: this is the first.` : ""}`;
}

// A file of the artist's: it isn't cleaned because an example was.
function useOwn(file) {
  if (isCleanOfExample) look.elements.clean.checked = isCleanOfExample = false;
  useSketch(file);
}

async function useSketch(blob) {
  newest = blob;
  const opened = await openSketch(blob);
  if (newest !== blob) return;
  sketch = opened;
  isNew = true;
  running?.controller.abort();
  askedHints = "";
  openCanvas();
  showPainting();
  colour();
}

// With the hints that this sketch had before the page was loaded anew.
function openCanvas() {
  const kept = sketch.hintsName && recall(sketch.hintsName);
  painter.open(sketch.picture, joinDots(kept?.hints ?? []));
  if (!kept?.hints.length) {
    painter.say("");
    return;
  }
  if (!sketch.picture) painter.setSize({ width: kept.width, height: kept.height });
  painter.say(`This sketch's hints are back: ${countHints(painter.hints.strokes.length)}.`);
}

function showPainting() {
  const takesHints = Boolean(findModel(by("model").value)?.takes_hints);
  by("painting").hidden = !takesHints || !painter.size;
  by("first").hidden = takesHints;
  by("no-hints").hidden = takesHints || !models.length;
}

async function saveHints() {
  if (!painter.hints.strokes.length) return;
  const stem = (sketch.blob.name ?? "sketch").replace(/\.[^.]*$/, "");
  downloadFile(new Blob([painter.hints.toJson(painter.size)], { type: "application/json" }), `${stem}.hints.json`);
  painter.say("The hints are saved. Beside the sketch, the command colorize finds them by their name.");
}

async function loadHints(blob) {
  try {
    const { width, height, hints } = await readHints(blob);
    const { size } = painter;
    if ((width ?? size.width) !== size.width || (height ?? size.height) !== size.height) {
      throw new Error(`they are for a picture of ${width}×${height}, this one is ${size.width}×${size.height}`);
    }
    painter.replace(joinDots(hints));
    painter.say(`Loaded: ${countHints(painter.hints.strokes.length)}.`);
  } catch (error) {
    setStatus(`The hints can't be loaded: ${error.message}`, true);
  }
}

function useFiles(files) {
  if (files.length === 1 && painter.isOpen && HINT_FILE.test(files[0].name)) loadHints(files[0]);
  else if (files.length === 1) useOwn(files[0]);
  else setStatus(files.length ? `${files.length} files: drop one; the command colorize colours folders.` : "No file was dropped: save the picture first, then drop its file.", true);
}

async function readPalette(blob) {
  if (!blob) return;
  try {
    const found = await findPalette(blob);
    if (!found.length) throw new Error("the picture has no colours");
    document.getElementsByName("colour").forEach((swatch, n) => { swatch.value = found[n % found.length]; });
    by("use-palette").checked = true;
    colour();
  } catch (error) {
    setStatus(`No palette found: ${error.message}`, true);
  }
}

async function download(extra) {
  try {
    const { blob } = await requestPicture(by("model").value, extra);
    downloadFile(blob, `${extra.layer ?? "coloured"}.${extra.format ?? "png"}`);
  } catch (error) {
    setStatus(`The file can't be made: ${error.message}`, true);
  }
}

function downloadFile(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function findModel(name) { return models.find((model) => model.name === name); }

function option(select, model) {
  const entry = document.createElement("option");
  entry.value = model.name;
  entry.textContent = `${model.name} (${model.label})${model.note ? ", a toy" : ""}`;
  select.append(entry);
}

function describe() {
  const chosen = findModel(by("model").value) ?? models[0];
  if (!chosen) return;
  const stale = chosen.is_stale ? "; the registry doesn't respond, so this is the version fetched before" : "";
  by("status").textContent = `${chosen.name}: ${chosen.label}, ${chosen.image_size} px${stale}`;
  by("note").textContent = chosen.note ? `This model is ${chosen.note}.` : "";
  by("note").hidden = !chosen.note;
  by("card").textContent = chosen.card;
  by("grid").src = `model/${encodeURIComponent(chosen.name)}/grid.png?identity=${chosen.identity}`;
  for (const id of ["another", "plain"]) by(id).disabled = !chosen.has_variations;
  showPainting();
  const other = findModel(by("other").value);
  const shown = other ? [chosen, other] : [chosen];
  by("metrics").tHead.replaceChildren(row("", shown.map((model) => model.name), "col"));
  const known = METRICS.filter(({ key }) => chosen.metrics?.[key] !== undefined);
  by("metrics").tBodies[0].replaceChildren(...known.map(({ key, name }) =>
    row(name, shown.map((model) => model.metrics?.[key]?.toFixed(3) ?? "–"))));
}

function row(name, values, scope) {
  const line = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { textContent: name, scope: "row" });
  line.append(head, ...values.map((value) =>
    Object.assign(document.createElement(scope ? "th" : "td"), { textContent: value, ...(scope && { scope }) })));
  return line;
}

async function listModels() {
  const found = await findModels();
  if (JSON.stringify(found) === JSON.stringify(models)) return;
  const [model, other] = [by("model").value, by("other").value];
  models = found;
  by("model").replaceChildren();
  by("other").replaceChildren(by("other").options[0] ?? new Option("no other model", ""));
  models.forEach((each) => { option(by("model"), each); option(by("other"), each); });
  if (models.some((each) => each.name === model)) by("model").value = model;
  if (models.some((each) => each.name === other)) by("other").value = other;
  if (models.length) describe();
  else by("status").textContent = "No model is loaded yet: make repro makes one, make promote makes it champion.";
}

by("file").addEventListener("change", (event) => {
  if (event.target.files.length) useOwn(event.target.files[0]);
});
by("palette-file").addEventListener("change", (event) => {
  event.stopPropagation(); // the file itself is not an option
  readPalette(event.target.files[0]);
});
for (const input of [by("file"), by("palette-file"), by("hints-file")]) {
  input.addEventListener("click", () => { input.value = ""; }); // the same file again is a change
}
// on the whole page: a browser opens a file that is dropped beside the field
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); by("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) by("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  by("drop").classList.remove("over");
  useFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) useFiles(event.clipboardData.files);
});
by("examples").addEventListener("click", async (event) => {
  const name = event.target.closest("button")?.dataset.example;
  if (!name) return;
  look.elements.clean.checked = isCleanOfExample = name.endsWith("scan.png");
  useSketch(await (await fetch(name)).blob());
});
by("another").addEventListener("click", () => {
  seed = (seed ?? 0) + 1;
  by("variation").textContent = seed;
  colour();
});
by("plain").addEventListener("click", () => {
  seed = null;
  by("variation").textContent = "plain";
  colour();
});
look.addEventListener("submit", (event) => event.preventDefault());
look.addEventListener("input", () => {
  by("strength").textContent = Number(look.elements.line_strength.value).toFixed(1);
});
look.addEventListener("change", ({ target }) => {
  if (target.name === "clean") isCleanOfExample = false;
  describe();
  colour();
});
by("slider").addEventListener("input", (event) => {
  by("compare").style.setProperty("--shown", `${event.target.value}%`);
});
document.querySelector(".downloads").addEventListener("click", (event) => {
  const { format, layer } = event.target.dataset;
  if (format || layer) download({ ...(format && { format }), ...(layer && { layer }) });
});

by("png").addEventListener("click", (event) => {
  if (current.number === wanted && !current.isPreview) return; // what is shown is the file
  event.preventDefault();
  download({});
});
by("save-hints").addEventListener("click", saveHints);
by("hints-file").addEventListener("change", ({ target }) => {
  if (target.files.length) loadHints(target.files[0]);
});

painter.recent = recall("recent colours") ?? [];
new Pointer(by("canvas"), painter);
listenToKeys(by("canvas"), painter);
connectTools(painter);
showTools(painter);

const refreshModels = () => listModels().catch(() => { by("status").textContent = "The studio doesn't respond."; });
refreshModels();
setInterval(refreshModels, 10_000);
