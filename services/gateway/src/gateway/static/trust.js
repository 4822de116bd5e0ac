// Whether the number on the screen may be believed, and in which words to say so.

const AHEAD = 1; // seconds by which the exchange's clock may be ahead before it is said

let meanings = {}; // of each status of a price, from the gateway

export function learn(statuses) {
  meanings = statuses;
}

// A price is missing exactly when its status says why.
export const isTrusted = (price) => price.price !== null;

const reason = (status) => meanings[status] ?? status.replaceAll("_", " ");

// `feed` is what the gateway last said of it, `price` the newest event; `age` is in seconds, null before the first price.
export function verdict({ connection, price, feed, age }) {
  if (connection === "lost") return { state: "lost", pill: "disconnected", alarm: "Connection to the gateway lost, reconnecting" };
  if (connection === "opening") return { state: "waiting", pill: "connecting" };
  if (feed?.state === "unlisted") return { state: "unlisted", pill: "not listed", alarm: "The exchange does not list this symbol" };
  if (feed?.state === "halted") {
    const word = feed.exchange_status ?? "HALT";
    return { state: "halted", pill: word, alarm: `Halted by the exchange: ${word}` };
  }
  if (age === null || !price) return { state: "waiting", pill: "waiting" };
  if (age >= (feed?.stale_after_seconds ?? 5)) return { state: "stale", pill: "stale", alarm: "No new price" };
  if (!isTrusted(price)) return { state: "untrusted", pill: "not trusted", alarm: `No fair price: ${reason(price.status)}` };
  if (feed?.state === "disputed") return { state: "disputed", pill: "disputed", alarm: "Live view and record contradict each other: do not trust" };
  return { state: "live", pill: "in sync" };
}

// What two clocks make of the newest price; a recording's clock means nothing.
export function skew(price) {
  if (!price || price.priced_time === null) return null;
  const ahead = (price.event_time - price.received_time) / 1e6;
  if (ahead < AHEAD) return null;
  return `the exchange's clock is ${ahead.toFixed(1)} s ahead of this machine's: set it right, times here are wrong by as much`;
}
