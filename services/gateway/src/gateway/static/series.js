// What is known of a symbol's past: points that came since the page was opened or were in the gateway's memory, and bars
// from the store for what is older. Times are milliseconds.

const SHORTEST_SLOT = 100;
const MOST_POINTS = 12_000; // twenty minutes of the shortest slots
const LONGEST_PAUSE = 5000; // between two answers of which the later one goes on where the earlier one ended

export const TRUSTED = new Set(["compared"]);

export class Series {
  constructor() {
    this.points = []; // [time, price, bid, ask, imbalance], in order
    this.bars = []; // rows, in order
  }

  get newest() {
    return Math.max(this.points.at(-1)?.[0] ?? 0, this.bars.at(-1)?.time ?? 0);
  }

  add(time, price, bid, ask, imbalance) {
    if (time >= (this.points.at(-1)?.[0] ?? 0)) this.push([time, price, bid, ask, imbalance]);
  }

  // The price at a time of which there are points, null elsewhere.
  priceAt(time) {
    const index = this.points.findLastIndex((point) => point[0] <= time);
    return index < 0 ? null : this.points[index][1];
  }

  // Of all points in one slot the last stays, as in the gateway's memory.
  push(point) {
    const slot = (each) => Math.floor(each / SHORTEST_SLOT);
    if (this.points.length && slot(this.points.at(-1)[0]) === slot(point[0])) this.points.pop();
    this.points.push(point);
    if (this.points.length > MOST_POINTS * 1.1) this.points.splice(0, MOST_POINTS * 0.1);
  }

  // Takes the answer of /api/history/{symbol}?minutes between the points before it, unless something is missing between
  // them, and those that came while it was under way.
  loadRecent({ time, price, bid, ask, imbalance }) {
    if (!time.length) return;
    const answer = time.map((each, index) => [each / 1000, price[index], bid[index], ask[index], imbalance[index]]);
    const [first, last] = [answer[0][0], answer.at(-1)[0]];
    const older = this.points.filter(([each]) => each < first);
    const newer = this.points.filter(([each]) => each > last);
    this.points = [...(first - (older.at(-1)?.[0] ?? 0) <= LONGEST_PAUSE ? older : []), ...answer, ...newer];
  }

  loadBars({ time, open, low, high, close, spread, step, verdict }) {
    this.bars = time.map((each, index) => rowOfBar({
      time: each / 1000, length: step / 1000, open: open[index], top: high[index], bottom: low[index], price: close[index], spread: spread[index],
      verdict: verdict[index],
    }));
  }

  // What is drawn between two times, as columns: one row before them, so that lines start at the edge, and a row without
  // values where a gap, [from, to], lies between two rows. `last` takes the place of what is newer than it. Points share
  // slots, about `most` of them.
  columns(from, to, gaps, last, most) {
    const rows = this.rows((to - from) / most, last?.time ?? to).filter(({ time }) => time <= to);
    if (last && last.time <= to) rows.push(last);
    const first = rows.findIndex(({ time }) => time >= from);
    const seen = first < 0 ? rows.slice(-1) : rows.slice(Math.max(0, first - 1));
    return asColumns(broken(seen, gaps));
  }

  rows(shortest, before) {
    const slot = Math.ceil(shortest / SHORTEST_SLOT) * SHORTEST_SLOT;
    const begin = this.points[0]?.[0] ?? Infinity;
    const older = this.bars.filter(({ time }) => time < begin && time < before);
    return [...older, ...thinned(this.points, slot, before)];
  }
}

// A row is what is known of a time: the price at its end and how it went there (open, top, bottom), bid and ask at its
// end, how low and how high bid and ask were, the spread in bps. What is not known is null.
const rowOfBar = ({ spread, ...bar }) => ({
  ...bar, bid: null, ask: null, low: Math.min(bar.bottom, bar.price - (spread ?? 0) / 2), high: Math.max(bar.top, bar.price + (spread ?? 0) / 2),
  spread: spread === null ? null : (spread / bar.price) * 10_000, imbalance: null,
});

export const rowOfPoint = (time, price, bid, ask, imbalance) => ({
  time, length: 0, open: price, top: price, bottom: price, price, bid, ask, low: bid, high: ask, spread: inBps(bid, ask), imbalance, verdict: null,
});

const inBps = (bid, ask) => (bid === null || ask === null ? null : ((ask - bid) / ((ask + bid) / 2)) * 10_000);

// The last point of each slot, with the lowest and the highest in it.
function thinned(points, slot, before) {
  const rows = [];
  let current = NaN;
  for (const [time, price, bid, ask, imbalance] of points) {
    if (time >= before) break;
    const mine = Math.floor(time / slot);
    if (mine !== current) {
      current = mine;
      rows.push(rowOfPoint(time, price, bid, ask, imbalance));
      continue;
    }
    const row = rows.at(-1);
    Object.assign(row, {
      time, price, bid, ask, imbalance, spread: inBps(bid, ask), open: row.open ?? price, bottom: lowest(row.bottom, price), top: highest(row.top, price),
      low: lowest(row.low, bid), high: highest(row.high, ask),
    });
  }
  return rows;
}

const lowest = (one, other) => (one === null || other === null ? other : Math.min(one, other));
const highest = (one, other) => (one === null || other === null ? other : Math.max(one, other));

function broken(rows, gaps) {
  const result = [];
  let next = 0;
  for (const row of rows) {
    while (next < gaps.length && gaps[next][1] <= (result.at(-1)?.time ?? -Infinity)) next += 1;
    const previous = result.at(-1);
    if (previous && next < gaps.length && gaps[next][0] < row.time) {
      const time = Math.max(gaps[next][0], previous.time) + 0.5;
      if (time < row.time) result.push(rowOfPoint(time, null, null, null, null));
    }
    result.push(row);
  }
  return result;
}

// `rows` are what the columns were made of; `doubtful` has the prices of the bars that are not as good as the others, and where the line goes on from them.
function asColumns(rows) {
  const isDoubtful = rows.map(({ verdict }) => verdict !== null && !TRUSTED.has(verdict));
  return {
    rows,
    time: rows.map(({ time }) => time),
    low: rows.map(({ low }) => low),
    high: rows.map(({ high }) => high),
    price: rows.map(({ price }, index) => (isDoubtful[index] ? null : price)),
    doubtful: rows.map(({ price }, index) => (isDoubtful[index] || isDoubtful[index - 1] ? price : null)),
    spread: rows.map(({ spread }) => spread),
    imbalance: rows.map(({ imbalance }) => imbalance),
  };
}
