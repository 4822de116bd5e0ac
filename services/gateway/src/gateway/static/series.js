// What is known of a symbol's past: points that came since the page was opened or were in the gateway's memory, and bars
// from the store for what is older. Times are milliseconds.

const SHORTEST_SLOT = 100;
const MOST_POINTS = 12_000; // twenty minutes of the shortest slots
const MOST_DRAWN = 2000;
const LONGEST_PAUSE = 5000; // between two answers of which the later one goes on where the earlier one ended

const TRUSTED = new Set(["compared"]);

export class Series {
  constructor() {
    this.points = []; // [time, price, bid, ask], in order
    this.bars = []; // { time, low, high, close, spread, verdict }, in order
  }

  get newest() {
    return Math.max(this.points.at(-1)?.[0] ?? 0, this.bars.at(-1)?.time ?? 0);
  }

  add(time, price, bid, ask) {
    if (time >= (this.points.at(-1)?.[0] ?? 0)) this.push([time, price, bid, ask]);
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
  loadRecent({ time, price, bid, ask }) {
    if (!time.length) return;
    const answer = time.map((each, index) => [each / 1000, price[index], bid[index], ask[index]]);
    const [first, last] = [answer[0][0], answer.at(-1)[0]];
    const older = this.points.filter(([each]) => each < first);
    const newer = this.points.filter(([each]) => each > last);
    this.points = [...(first - (older.at(-1)?.[0] ?? 0) <= LONGEST_PAUSE ? older : []), ...answer, ...newer];
  }

  loadBars({ time, low, high, close, spread, verdict }) {
    this.bars = time.map((each, index) => ({
      time: each / 1000, low: low[index], high: high[index], close: close[index], spread: spread[index] ?? 0, verdict: verdict[index],
    }));
  }

  // What is drawn between two times, as columns: one row before them, so that lines start at the edge, and a row without
  // values where a gap, [from, to], lies between two rows. `last` takes the place of what is newer than it.
  columns(from, to, gaps, last) {
    const rows = this.rows(to - from, last?.time ?? to).filter(({ time }) => time <= to);
    if (last && last.time <= to) rows.push(last);
    const first = rows.findIndex(({ time }) => time >= from);
    const seen = first < 0 ? rows.slice(-1) : rows.slice(Math.max(0, first - 1));
    return asColumns(broken(seen, gaps));
  }

  rows(span, before) {
    const slot = Math.ceil(span / MOST_DRAWN / SHORTEST_SLOT) * SHORTEST_SLOT;
    const begin = this.points[0]?.[0] ?? Infinity;
    const older = this.bars.filter(({ time }) => time < begin && time < before).map(rowOfBar);
    return [...older, ...thinned(this.points, slot, before)];
  }
}

const rowOfBar = ({ time, low, high, close, spread, verdict }) => ({
  time, price: close, low: Math.min(low, close - spread / 2), high: Math.max(high, close + spread / 2), verdict,
});

export const rowOfPoint = (time, price, bid, ask) => ({ time, price, low: bid, high: ask, verdict: null });

// The last point of each slot, with the lowest bid and the highest ask in it.
function thinned(points, slot, before) {
  const rows = [];
  let current = NaN;
  for (const [time, price, bid, ask] of points) {
    if (time >= before) break;
    const mine = Math.floor(time / slot);
    if (mine !== current) {
      current = mine;
      rows.push(rowOfPoint(time, price, bid, ask));
      continue;
    }
    const row = rows.at(-1);
    Object.assign(row, { time, price, low: lowest(row.low, bid), high: highest(row.high, ask) });
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
      if (time < row.time) result.push({ time, price: null, low: null, high: null, verdict: null });
    }
    result.push(row);
  }
  return result;
}

// `doubtful` has the prices of the bars that are not as good as the others, and where the line goes on from them.
function asColumns(rows) {
  const isDoubtful = rows.map(({ verdict }) => verdict !== null && !TRUSTED.has(verdict));
  return {
    time: rows.map(({ time }) => time),
    low: rows.map(({ low }) => low),
    high: rows.map(({ high }) => high),
    price: rows.map(({ price }, index) => (isDoubtful[index] ? null : price)),
    doubtful: rows.map(({ price }, index) => (isDoubtful[index] || isDoubtful[index - 1] ? price : null)),
    verdict: rows.map(({ verdict }) => verdict),
  };
}
