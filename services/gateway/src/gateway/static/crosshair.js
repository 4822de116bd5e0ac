// What is known at the time under the pointer, in words and exact numbers.

import { moment, number, bps, signed, words } from "./format.js";

const VERDICTS = {
  unverified: "not verified: not compared with the exchange", suspect: "suspect: a comparison with the exchange was wrong",
  hole: "updates are missing",
};

// Pairs of what and how much: of a row of the series, or of the candle and the gap that lie under the pointer, if some do.
// A bar of the store has no bid and ask, but an open, high, low and close as a candle has.
export function facts(row, candle, gap, decimals) {
  const price = (value) => number(value, decimals);
  const ends = candle ?? (row.length ? row : null);
  const prices = ends
    ? [["open", price(ends.open)], ["high", price(ends.top)], ["low", price(ends.bottom)], ["close", price(ends.price)]]
    : [["fair", number(row.price, decimals + 1)]];
  const sides = row.length ? [] : [["bid", price(row.bid)], ["ask", price(row.ask)]];
  const remark = gap ? `gap: ${words(gap.reason)}` : VERDICTS[row.verdict];
  return [
    ["", moment((candle ?? row).time * 1000)], ...prices, ...sides,
    ["spread", row.spread === null ? null : `${bps(row.spread)} bps`], ["imbalance", row.imbalance === null ? null : signed(row.imbalance, 2)],
    ["", remark],
  ].filter(([, text]) => text);
}

export function showFacts(element, pairs) {
  element.replaceChildren(...pairs.map(([name, text]) => {
    const item = document.createElement("span");
    item.append(name && `${name} `, Object.assign(document.createElement("b"), { textContent: text }));
    return item;
  }));
}
