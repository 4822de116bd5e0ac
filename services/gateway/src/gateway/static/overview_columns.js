// The columns of the overview: what each shows of a row of /api/overview and sorts by, and which rows a filter leaves.

import { NONE, age, bps, number, signed } from "./format.js";
import { keyOf } from "./symbols.js";

export const STATES = {
  live: "in sync", waiting: "waiting", halted: "halted", unlisted: "not listed", untrusted: "not trusted", stale: "stale", disputed: "disputed", lost: "disconnected",
}; // from the best to the worst

const worst = Object.keys(STATES);

const change = (span, words) => ({
  name: span, label: span, title: `Change over ${words}, per cent`, value: (row) => row[`change_${span}_percent`],
  text: (row) => signed(row[`change_${span}_percent`], 2), side: (row) => sideOf(row[`change_${span}_percent`]),
});
const sideOf = (value) => (!value ? "" : value > 0 ? "bid" : "ask");

// A column without `value` is not sorted by.
export const COLUMNS = [
  { name: "symbol", label: "Symbol", value: (row) => row.symbol, text: (row) => row.symbol },
  { name: "venue", label: "Venue", value: (row) => row.venue, text: (row) => row.venue },
  { name: "price", label: "Price", value: (row) => row.price, text: (row) => number(row.price, placesOf(row.price)) },
  change("1m", "a minute"),
  change("1h", "an hour"),
  change("24h", "a day"),
  { name: "line", label: "Day", title: "The last 24 hours" },
  { name: "spread", label: "Spread", title: "Basis points", value: (row) => row.spread_bps, text: (row) => bps(row.spread_bps) },
  { name: "depth", label: "Depth", title: "Quote value of bids and asks within 10 basis points of the mid", value: (row) => row.depth, text: (row) => short(row.depth) },
  {
    name: "basis", label: "Basis", title: "Basis points above the same symbol at the first venue", value: (row) => row.basis_bps,
    text: (row) => signed(row.basis_bps, 2), side: (row) => (row.basis_beyond ? "ask" : ""),
  },
  { name: "state", label: "State", value: (row) => worst.indexOf(row.state), text: (row) => STATES[row.state] ?? row.state },
  { name: "age", label: "Age", title: "Since the newest price arrived", value: (row) => row.age_seconds, text: (row) => (row.age_seconds === null ? NONE : age(row.age_seconds)) },
  { name: "gaps", label: "Gaps", title: "Holes that no crawler has filled", value: (row) => row.gaps, text: (row) => number(row.gaps, 0) },
];

const placesOf = (price) => (price >= 100 ? 2 : price >= 1 ? 4 : price >= 0.01 ? 6 : 8);

function short(value) {
  if (value === null) return NONE;
  const [unit, size] = [[" M", 1e6], [" k", 1e3], ["", 1]].find(([, each]) => value >= each) ?? ["", 1];
  return number(value / size, value / size >= 100 ? 0 : value / size >= 10 ? 1 : 2) + unit;
}

// Those whose symbol or venue holds each word of the text.
export function filtered(rows, { text, venue, state }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const name = keyOf(row).toLowerCase();
    return (!venue || row.venue === venue) && (!state || row.state === state) && words.every((word) => name.includes(word));
  });
}

// By the column that `sort` names, downwards behind a minus; what is not known comes last, equals by name.
export function sorted(rows, sort) {
  const column = columnOf(sort) ?? COLUMNS[0];
  const sign = sort.startsWith("-") ? -1 : 1;
  return rows
    .map((row) => ({ row, value: column.value(row) ?? null, key: keyOf(row) }))
    .sort((one, other) => {
      if (one.value === null || other.value === null) return (one.value === null) - (other.value === null) || compare(one.key, other.key);
      return sign * compare(one.value, other.value) || compare(one.key, other.key);
    })
    .map(({ row }) => row);
}

export const columnOf = (sort) => COLUMNS.find(({ name, value }) => value && name === sort.replace("-", ""));

const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
