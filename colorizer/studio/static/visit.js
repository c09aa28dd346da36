// What is kept until the tab is closed, also when the page is loaded anew. Where the browser keeps
// nothing, or there is too much, all works without.

export function keep(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch { /* full, or forbidden */ }
}

export function recall(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

// A name for what belongs to a file, by its bytes; null where browsers compute none (plain HTTP).
export async function nameOf(blob) {
  if (!globalThis.crypto?.subtle) return null;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return `hints ${Array.from(hash, (value) => value.toString(16).padStart(2, "0")).join("")}`;
}
