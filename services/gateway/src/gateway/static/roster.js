// How far many symbols have come, in words, from the states of their feeds alone.

const FEWEST = 10; // symbols out of sync at once from which on there is progress to tell
const WINDOW = 60; // seconds over which the pace is taken

let counts = []; // [seconds, symbols out of sync] of the last minute

// `feeds` are those of all symbols, `now` is in seconds: "123 of 500 in sync, about 2 min left · 3 halted · 1 not listed".
export function roster(feeds, now) {
  const number = (state) => feeds.filter((feed) => feed.state === state).length;
  const [halted, unlisted] = [number("halted"), number("unlisted")];
  const followed = feeds.length - halted - unlisted;
  const out = feeds.filter(isOut).length;
  counts = [...counts.filter(([at]) => at >= now - WINDOW), [now, out]];
  const parts = [out < FEWEST ? `${feeds.length} symbols` : `${followed - out} of ${followed} in sync${left(out)}`];
  if (halted) parts.push(`${halted} halted`);
  if (unlisted) parts.push(`${unlisted} not listed`);
  return parts.join(" · ");
}

// A thin symbol grows stale by itself; one that is out of sync has a crawler's word for it.
const isOut = ({ state, problem }) => state === "waiting" || (state === "stale" && problem !== null);

function left(out) {
  const [began, then] = counts[0];
  const seconds = ((counts.at(-1)[0] - began) * out) / (then - out);
  if (!(seconds > 0 && seconds < Infinity)) return "";
  return `, about ${seconds >= 90 ? `${Math.round(seconds / 60)} min` : `${Math.max(1, Math.round(seconds))} s`} left`;
}
