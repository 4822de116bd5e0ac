// Candles: what the price did in each step of time, made of prices and of bars that are finer than a step.

import { TRUSTED } from "./series.js";

const SECOND = 1000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800].map((each) => each * SECOND);
const NARROWEST = 7; // pixels from one candle to the next

// The shortest step of which candles in `width` pixels are not too narrow, and none of the rows is longer; times are
// milliseconds.
export function stepOf(from, to, width, rows) {
  const step = STEPS.find((each) => (each / (to - from)) * width >= NARROWEST) ?? STEPS.at(-1);
  return Math.max(step, ...rows.filter(({ time }) => time >= from).map(({ length }) => length));
}

// `rows` are those of a series, in order; one that is longer than a step is a candle of its own. Only what has a price counts.
export function candles(rows, step) {
  const found = [];
  for (const row of rows) {
    if (row.price === null) continue;
    const time = row.length > step ? row.time : Math.floor(row.time / step) * step;
    const candle = found.at(-1);
    if (candle?.time === time) take(candle, row);
    else found.push({ time, length: Math.max(step, row.length), open: row.open, top: row.top, bottom: row.bottom, price: row.price, doubtful: isDoubtful(row) });
  }
  return found;
}

function take(candle, row) {
  candle.top = Math.max(candle.top, row.top);
  candle.bottom = Math.min(candle.bottom, row.bottom);
  candle.price = row.price;
  candle.doubtful ||= isDoubtful(row);
}

const isDoubtful = ({ verdict }) => verdict !== null && !TRUSTED.has(verdict);

// Hollow where the price rose and filled where it fell, so that nobody needs the colours; doubtful ones are of a third.
export function drawCandles(plot, found, colour) {
  const { ctx } = plot;
  const pixel = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  ctx.lineWidth = pixel;
  for (const { time, length, open, top, bottom, price, doubtful } of found) {
    const [left, right] = [time, time + length].map((each) => plot.valToPos(each, "x", true));
    const [above, below] = [Math.max(open, price), Math.min(open, price)].map((value) => Math.round(plot.valToPos(value, "y", true)) + pixel / 2);
    const [high, low] = [top, bottom].map((value) => plot.valToPos(value, "y", true));
    const middle = Math.round((left + right) / 2) + pixel / 2;
    const half = Math.max(pixel, Math.floor((right - left) * 0.35));
    ctx.strokeStyle = ctx.fillStyle = doubtful ? colour.warn : price < open ? colour.ask : colour.bid;
    ctx.beginPath();
    ctx.moveTo(middle, high);
    ctx.lineTo(middle, above);
    ctx.moveTo(middle, below);
    ctx.lineTo(middle, low);
    ctx.stroke();
    ctx.beginPath();
    ctx.rect(middle - half, above, 2 * half, Math.max(0, below - above));
    if (price < open) ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}
