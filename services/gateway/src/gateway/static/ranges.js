// What the chart shows, and what of it stands in the address: #venue/symbol?range=1h&to=...&style=candles

const SECOND = 1000;
const UNITS = { s: SECOND, m: 60 * SECOND, h: 3600 * SECOND, d: 86_400 * SECOND, w: 7 * 86_400 * SECOND };

export const LINE = "line";
export const STYLES = [LINE, "candles"];

export const USUAL = 5 * UNITS.m;
export const SHORTEST = 5 * SECOND;
export const LONGEST = 366 * UNITS.d;

// What the address says of the view: its length, its end (null: it follows the newest price), its style, and what cannot
// be read.
export function readView() {
  const asked = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const problems = [];
  let [span, end] = [USUAL, null];
  if (asked.has("range")) {
    const [, count, unit] = asked.get("range").match(/^(\d{1,6})([smhdw])$/) ?? [];
    const wish = count * UNITS[unit];
    if (wish >= SHORTEST && wish <= LONGEST) span = wish;
    else problems.push(`the address asks for the range ${asked.get("range").slice(0, 20)}, which is none: write 5s to 366d, like 1h`);
  }
  if (asked.has("to")) {
    const wish = Date.parse(asked.get("to"));
    if (Number.isFinite(wish)) end = wish;
    else problems.push(`the address asks for the time ${asked.get("to").slice(0, 30)}, which is none: write it like 2026-11-29T10:00:00Z`);
  }
  const style = asked.get("style") ?? LINE;
  if (!STYLES.includes(style)) problems.push(`the address asks for the style ${style.slice(0, 20)}, which is none: write ${STYLES.join(" or ")}`);
  return { span, end, style: STYLES.includes(style) ? style : LINE, problem: problems.join("; ") };
}

// Keeps the view in the address, without a step back for each.
export function writeView({ span, end, style }) {
  const [name] = location.hash.split("?");
  const parts = [];
  if (span !== USUAL) parts.push(`range=${written(span)}`);
  if (end !== null) parts.push(`to=${new Date(end).toISOString().replace(".000Z", "Z")}`);
  if (style !== LINE) parts.push(`style=${style}`);
  history.replaceState(null, "", `${name || "#"}${parts.length ? `?${parts.join("&")}` : ""}`);
}

export function written(span) {
  const seconds = Math.max(5, Math.round(span / SECOND));
  const [unit] = ["d", "h", "m", "s"].filter((each) => (seconds * SECOND) % UNITS[each] === 0);
  return `${(seconds * SECOND) / UNITS[unit]}${unit}`;
}
