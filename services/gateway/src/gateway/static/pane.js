// The small pane below the price, on the same time: the spread above, below it the imbalance to either side of nothing.

import { bps } from "./format.js";
import { plotIn } from "./plot.js";
import { isOwn } from "./zone.js";

export const HEIGHT = 112; // pixels, the axis of time among them
const AXIS = 26;
const [NARROW, WIDE] = [48, 70]; // pixels for 12:34, and for 12:34:56
const COLUMN = 2; // pixels that share one mean of the imbalance

// Below the plot of the price, with which it shares the edges and the crosshair; `ticks(plot, values, step)` writes times.
export function makePane(element, width, price, colour, axis, ticks, together) {
  const left = () => price.bbox.left / devicePixelRatio;
  const right = () => width - (price.bbox.left + price.bbox.width) / devicePixelRatio;
  const line = { points: { show: false }, spanGaps: false };
  return plotIn(element, {
    ms: 1,
    width,
    height: HEIGHT,
    tzDate: (time) => (isOwn() ? new Date(time) : uPlot.tzDate(new Date(time), "UTC")),
    padding: [4, 0, 0, left],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false, bind: { dblclick: () => null }, sync: { key: together } },
    // nothing of the spread and all of the imbalance are in the middle of the pane
    scales: { x: { time: true, auto: false }, spread: { range: (plot, low, high) => [-1.3 * (high || 1), 1.3 * (high || 1)] }, imbalance: { range: [-1.15, 3.45] } },
    series: [
      {},
      { ...line, scale: "spread", stroke: colour.quiet, width: 1.2, paths: uPlot.paths.stepped({ align: 1 }) },
      { ...line, scale: "imbalance", paths: () => null },
    ],
    axes: [
      { ...axis, grid: { show: false }, size: AXIS, space: roomFor, values: (plot, values, index, space, step) => ticks(plot, values, step) },
      { ...axis, scale: "spread", side: 1, size: right, grid: { show: false }, space: 18, values: (plot, values) => values.map((value) => (value > 0 ? bps(value) : "")) },
    ],
    hooks: { drawClear: [(plot) => drawImbalance(plot, colour)] },
  });
}

// Pixels between two times: more where they have seconds.
function roomFor(plot, axis, from, to) {
  return ((to - from) / plot.bbox.width) * devicePixelRatio * NARROW < 60_000 ? WIDE : NARROW;
}

function drawImbalance(plot, colour) {
  const { ctx, bbox } = plot;
  const y = (value) => Math.round(plot.valToPos(value, "imbalance", true));
  const wide = COLUMN * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = colour.line;
  for (const middle of [bbox.top, y(1.15), y(0)]) ctx.fillRect(bbox.left, middle, bbox.width, devicePixelRatio);
  const [times, , values] = plot.data;
  for (const { column, mean } of means(times, values, (time) => Math.floor((plot.valToPos(time, "x", true) - bbox.left) / wide))) {
    ctx.fillStyle = mean < 0 ? colour.ask : colour.bid;
    ctx.fillRect(bbox.left + column * wide, Math.min(y(0), y(mean)), wide, Math.max(1, Math.abs(y(mean) - y(0))));
  }
  ctx.restore();
}

// The mean of the values in each column that has some; each value holds until the next time.
export function means(times, values, columnOf) {
  const sums = new Map();
  times.forEach((time, index) => {
    const value = values[index];
    if (typeof value !== "number") return;
    const first = Math.max(0, columnOf(time));
    const last = index + 1 < times.length ? Math.max(first, columnOf(times[index + 1]) - 1) : first;
    for (let column = first; column <= last; column += 1) {
      const [sum, count] = sums.get(column) ?? [0, 0];
      sums.set(column, [sum + value, count + 1]);
    }
  });
  return [...sums].map(([column, [sum, count]]) => ({ column, mean: sum / count }));
}
