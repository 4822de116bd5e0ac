// Whether the number on the screen may be believed, and in which words to say so.

const TRUSTED = new Set(["ok", "locked"]);

const REASONS = {
  crossed: "the order book is crossed",
  no_bids: "the order book has no bids",
  no_asks: "the order book has no asks",
  empty: "the order book is empty",
  insufficient_depth: "the order book is too thin",
  not_synced: "the order book is not in sync",
};

export const isTrusted = (status) => TRUSTED.has(status);

// `age` is in seconds, null before the first price.
export function verdict({ connection, status, age, staleAfter }) {
  if (connection === "lost") return { state: "lost", pill: "disconnected", alarm: "Connection to the gateway lost, reconnecting" };
  if (connection === "opening") return { state: "waiting", pill: "connecting" };
  if (age === null) return { state: "waiting", pill: "waiting" };
  if (age >= staleAfter) return { state: "stale", pill: "stale", alarm: "No new price" };
  if (!isTrusted(status)) {
    return { state: "untrusted", pill: "not trusted", alarm: `No fair price: ${REASONS[status] ?? status.replaceAll("_", " ")}` };
  }
  return { state: "live", pill: "in sync" };
}
