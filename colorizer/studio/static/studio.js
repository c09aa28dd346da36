// The studio's page: one sketch, its options, and the coloured pictures.

const by = (id) => document.getElementById(id);
const look = by("look");
const METRICS = [
  { key: "l1", name: "L1 (less is better)" },
  { key: "chroma", name: "Chroma error (less is better)" },
  { key: "psnr", name: "PSNR, dB (more is better)" },
  { key: "ssim", name: "SSIM (more is better)" },
];
const HINTS = {
  "paper-is-transparent": " The sketch's paper is transparent, and so are its colours: fill transparent areas with white to see them.",
  "coloured-already": "This picture is coloured already, so it is shown as it is. To colour it all the same, tick “Colour it also if it is coloured already”.",
};
let sketch = null; // Blob
let isNew = false; // the sketch's picture wasn't shown yet
let seed = null;
let models = [];
let round = 0; // responses to older requests are dropped
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

async function requestPicture(model, extra) {
  const response = await fetch(`colorize?${makeQuery(model, extra)}`, {
    method: "POST", body: sketch, headers: { "Content-Type": sketch.type || "application/octet-stream" },
  });
  if (response.ok) {
    return {
      blob: await response.blob(), model: response.headers.get("X-Model"), hint: response.headers.get("X-Hint"),
      pages: response.headers.get("X-Pages"), frames: response.headers.get("X-Frames"),
    };
  }
  const reason = await response.json().catch(() => ({}));
  const detail = typeof reason.detail === "string" ? reason.detail : "the options are invalid";
  throw new Error(response.status === 429 ? `${detail}. Change an option to try again.` : detail);
}

async function colour() {
  if (!sketch) return;
  const mine = ++round;
  const form = new FormData(look);
  const began = performance.now();
  setStatus("Colouring…");
  try {
    const other = form.get("other");
    const requests = [requestPicture(form.get("model")), other ? requestPicture(other) : null];
    const before = form.get("clean") ? requestPicture(form.get("model"), { layer: "lines" }) : null;
    const [first, second] = await Promise.all(requests);
    const lines = before ? (await before).blob : sketch;
    if (mine !== round) return;
    show(by("before"), lines);
    show(by("after"), first.blob);
    show(by("png"), first.blob);
    by("caption").textContent = first.model;
    by("second").hidden = !second;
    if (second) {
      show(by("after-other"), second.blob);
      by("caption-other").textContent = second.model;
    }
    by("result").hidden = false;
    if (isNew) {
      isNew = false;
      await by("after").decode().catch(() => {}); // its height is known only now
      by("picture").scrollIntoView({ block: "nearest" });
    }
    const done = `Coloured in ${((performance.now() - began) / 1000).toFixed(1)} s.`;
    const hint = first.hint === "coloured-already" ? HINTS[first.hint] : `${done}${HINTS[first.hint] ?? ""}`;
    const pages = first.pages ? ` The file holds ${first.pages} pages: this is the first; the command colorize colours all.` : "";
    const frames = first.frames ? ` The file holds ${first.frames} frames: this is the first.` : "";
    setStatus(`${hint}${pages}${frames}`);
  } catch (error) {
    if (mine !== round) return;
    if (isNew) by("result").hidden = true; // it's another sketch's
    setStatus(`The sketch can't be coloured: ${error.message}`, true);
  }
}

function useSketch(blob) {
  sketch = blob;
  isNew = true;
  colour();
}

function useFiles(files) {
  if (files.length === 1) useSketch(files[0]);
  else setStatus(files.length ? `${files.length} files: drop one; the command colorize colours folders.` : "No file was dropped: save the picture first, then drop its file.", true);
}

async function readPalette(blob) {
  if (!blob) return;
  try {
    const response = await fetch("palette?count=3", { method: "POST", body: blob });
    const found = await response.json();
    if (!response.ok) throw new Error(found.detail);
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
    const { blob } = await requestPicture(new FormData(look).get("model"), extra);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${extra.layer ?? "coloured"}.${extra.format ?? "png"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    setStatus(`The file can't be made: ${error.message}`, true);
  }
}

function option(select, model) {
  const entry = document.createElement("option");
  entry.value = model.name;
  entry.textContent = `${model.name} (${model.label})${model.note ? ", a toy" : ""}`;
  select.append(entry);
}

function describe() {
  const chosen = models.find((model) => model.name === by("model").value) ?? models[0];
  if (!chosen) return;
  const stale = chosen.is_stale ? "; the registry doesn't respond, so this is the version fetched before" : "";
  by("status").textContent = `${chosen.name}: ${chosen.label}, ${chosen.image_size} px${stale}`;
  by("note").textContent = chosen.note ? `This model is ${chosen.note}.` : "";
  by("note").hidden = !chosen.note;
  by("card").textContent = chosen.card;
  by("grid").src = `model/${encodeURIComponent(chosen.name)}/grid.png?identity=${chosen.identity}`;
  for (const id of ["another", "plain"]) by(id).disabled = !chosen.has_variations;
  const other = models.find((model) => model.name === by("other").value);
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

async function findModels() {
  const found = await (await fetch("model")).json();
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
  if (event.target.files.length) useSketch(event.target.files[0]);
});
by("palette-file").addEventListener("change", (event) => {
  event.stopPropagation(); // the file itself is not an option
  readPalette(event.target.files[0]);
});
for (const input of [by("file"), by("palette-file")]) {
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
  look.elements.clean.checked = name.endsWith("scan.png");
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
look.addEventListener("change", () => { describe(); colour(); });
by("slider").addEventListener("input", (event) => {
  by("compare").style.setProperty("--shown", `${event.target.value}%`);
});
document.querySelector(".downloads").addEventListener("click", (event) => {
  const { format, layer } = event.target.dataset;
  if (format || layer) download({ ...(format && { format }), ...(layer && { layer }) });
});

const refreshModels = () => findModels().catch(() => { by("status").textContent = "The studio doesn't respond."; });
refreshModels();
setInterval(refreshModels, 10_000);
