// What needs nothing of Lowtide lives in modules of its own, so that `node --test` can test it.

/** Runnable and all tasks: `0.52 0.58 0.59 2/941 12345` says 2 and 941; undefined for any other text. */
export function parse(text) {
  const [runnable, all] = (text.trim().split(/\s+/)[3] ?? "").split("/").map(Number);
  return Number.isFinite(runnable) && Number.isFinite(all) ? { runnable, all } : undefined;
}
