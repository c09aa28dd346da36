// What the page asks its server for. An error says what the server said.

export async function postSketch(query, body, signal) {
  const headers = body instanceof FormData ? {} : { "Content-Type": body.type || "application/octet-stream" };
  const response = await fetch(`colorize?${query}`, { method: "POST", body, headers, signal });
  if (!response.ok) {
    const reason = await readReason(response);
    throw new Error(response.status === 429 ? `${reason}. Change an option to try again.` : reason);
  }
  return {
    blob: await response.blob(), model: response.headers.get("X-Model"), hint: response.headers.get("X-Hint"),
    pages: response.headers.get("X-Pages"), frames: response.headers.get("X-Frames"),
  };
}

export async function findModels() { return (await fetch("model")).json(); }

export function findPalette(blob) { return postFile("palette?count=3", blob); }

export function readHints(blob) { return postFile("hints", blob); }

async function postFile(address, blob) {
  const response = await fetch(address, { method: "POST", body: blob });
  if (!response.ok) throw new Error(await readReason(response));
  return response.json();
}

async function readReason(response) {
  const reason = await response.json().catch(() => ({}));
  return typeof reason.detail === "string" ? reason.detail : "the options are invalid";
}
