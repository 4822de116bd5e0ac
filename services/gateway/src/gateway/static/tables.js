// The order book's ladder, the tables of estimates, depth and impact, and the list of problems.

import { NONE, age, bps, clock, minutes, number, quantity, signed, words } from "./format.js";

const LEVELS = 10;
const MOST_GAPS = 4;
const BAND = /^depth_bid_(\d+(?:_\d+)?)bps$/;
const BANDS = [
  { name: "in 1 s", low: "band_1s_low", high: "band_1s_high" },
  { name: "in 10 s", low: "band_10s_low", high: "band_10s_high" },
];
const IMPACT = /^impact_bid_(\d+(?:_\d+)?)$/;

let estimators = {}; // their meanings, from the gateway

export function learnEstimators(meanings) {
  estimators = meanings;
}

const byId = (id) => document.getElementById(id);

// Makes rows as needed and writes only the cells that changed.
function fill(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    cells.forEach((text, column) => {
      const cell = row.cells[column] ?? row.insertCell();
      if (cell.textContent !== text) cell.textContent = text;
    });
  });
}

export function showBook(book, priceDecimals, sizeDecimals) {
  const sides = { asks: levels(book.asks), bids: levels(book.bids) };
  const deepest = Math.max(...Object.values(sides).flatMap((rows) => rows.map(({ total }) => total)), Number.MIN_VALUE);
  for (const [side, rows] of Object.entries(sides)) {
    // Asks are listed from the farthest down to the best, so that both best prices meet in the middle.
    const ordered = side === "asks" ? [...rows].reverse() : rows;
    const body = byId(side);
    fill(body, ordered.map(({ price, size, total }) => [number(price, priceDecimals), number(size, sizeDecimals), number(total, sizeDecimals)]));
    ordered.forEach(({ size, total }, index) => {
      const style = body.rows[index].style;
      style.setProperty("--size", `${(100 * size) / deepest}%`);
      style.setProperty("--total", `${(100 * total) / deepest}%`);
    });
  }
  byId("ladder").dataset.updateId = book.update_id;
}

export function clearBook() {
  const blank = Array.from({ length: LEVELS }, () => [NONE, NONE, NONE]);
  for (const side of ["asks", "bids"]) {
    fill(byId(side), blank);
    for (const row of byId(side).rows) row.removeAttribute("style");
  }
  delete byId("ladder").dataset.updateId;
}

function levels(side) {
  let total = 0;
  return side.slice(0, LEVELS).map(([price, size]) => ({ price: Number(price), size: Number(size), total: (total += Number(size)) }));
}

// `known` are the fields that have had a value since the symbol was chosen: others have no row.
export function showNumbers(price, decimals, known) {
  const toMid = (value) => (value === null || value === undefined || !price.mid ? null : (value / price.mid - 1) * 1e4);
  for (const name of Object.keys(estimators)) if (typeof price[name] === "number") known.add(name);
  const names = Object.keys(estimators).filter((name) => known.has(name));
  fill(byId("estimates"), names.map((name) => [
    words(name), number(price[name], decimals + 1), name === "mid" ? "" : signed(toMid(price[name]), 4),
  ]));
  names.forEach((name, index) => (byId("estimates").rows[index].title = estimators[name]));
  const bands = configured(price, BAND).map(({ setting, suffix }) => ({
    name: `${setting} bps`, bid: `depth_bid_${suffix}bps`, ask: `depth_ask_${suffix}bps`,
  }));
  const impacts = configured(price, IMPACT).map(({ setting, suffix }) => ({
    name: short(setting), bid: `impact_bid_${suffix}`, ask: `impact_ask_${suffix}`,
  }));
  showSides("bands", bands, price, known, quantity);
  showSides("impacts", impacts, price, known, (value) => number(value, decimals));
}

// What takes two minutes to learn has no row before; a line says how long it takes. `modelTime` is the exchange's.
export function showExpected(price, decimals, modelTime) {
  const bands = BANDS.filter(({ low }) => typeof price[low] === "number");
  fill(byId("expected"), bands.map(({ name, low, high }) => [name, number(price[low], decimals), number(price[high], decimals)]));
  byId("expected-note").hidden = !bands.length;
  const left = modelTime ? (modelTime - price.event_time) / 1e6 : 0;
  const line = byId("learning");
  line.hidden = bands.length > 0;
  const text = left > 0 ? `learning: ${minutes(left)} left` : "learning: it takes two minutes without a gap";
  if (line.textContent !== text) line.textContent = text;
}

export function clearExpected() {
  byId("expected").replaceChildren();
  byId("expected-note").hidden = byId("learning").hidden = true;
}

export function showGaps(gaps, seen) {
  fill(byId("gaps"), gaps.slice(-MOST_GAPS).reverse().map((gap) => [
    clock(gap.to_time), age((gap.to_time - gap.from_time) / 1e6), gap.open_ids === 0 ? `${words(gap.reason)}, filled` : words(gap.reason),
  ]));
  byId("gaps-note").textContent = seen ? `${seen} open, newest first` : "none open";
}

export function showProblems(problems) {
  const list = byId("problems");
  list.parentElement.hidden = !problems.length;
  while (list.children.length > problems.length) list.lastChild.remove();
  problems.forEach((text, index) => {
    const item = list.children[index] ?? list.appendChild(document.createElement("li"));
    if (item.textContent !== text) item.textContent = text;
  });
}

function showSides(id, rows, price, known, write) {
  for (const { bid, ask } of rows) for (const field of [bid, ask]) if (typeof price[field] === "number") known.add(field);
  const [filled, empty] = [[], []];
  for (const row of rows) (known.has(row.bid) || known.has(row.ask) ? filled : empty).push(row);
  fill(byId(id), filled.map(({ name, bid, ask }) => [name, write(price[bid]), write(price[ask])]));
  const beyond = byId(`${id}-beyond`);
  beyond.hidden = !empty.length;
  beyond.textContent = empty.length ? `${empty.map(({ name }) => name).join(", ")}: beyond the levels of a book` : "";
}

// Which bands and notionals there are is a setting; their names tell.
function configured(price, pattern) {
  return Object.keys(price)
    .map((name) => name.match(pattern)?.[1])
    .filter(Boolean)
    .map((suffix) => ({ suffix, setting: Number(suffix.replace("_", ".")) }))
    .sort((one, other) => one.setting - other.setting);
}

function short(value) {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : String(value);
}

export function spreadText(price, decimals) {
  return price.spread === null || price.spread === undefined ? NONE : `${number(price.spread, decimals)} · ${bps(price.spread_bps)} bps`;
}
