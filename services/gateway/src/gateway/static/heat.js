// How much rests how far from the price, as a heat map behind the chart: from the depths that the page has got since it
// was opened, each of which sums up the whole book within distances of the mid.

const MOST = 720; // an hour of one each five seconds
const LONGEST = 20_000; // milliseconds that a depth stands for when the next one is late
const DARKEST = 0.4;
const DISTANCE = /^bid_quantity_(\d+(?:_\d+)?)bps$/;

export class Heat {
  constructor() {
    this.depths = []; // { time, mid, bid, ask } with [[from bps, to bps, base quantity per bps], ...], in order
  }

  // Takes an answer of /api/depth; `mid` is the price at its time, without which nobody knows where it was.
  add(answer, mid) {
    const time = answer.event_time / 1000;
    if (!(mid > 0) || !(time > (this.depths.at(-1)?.time ?? 0))) return;
    this.depths.push({ time, mid, bid: layers(answer, "bid"), ask: layers(answer, "ask") });
    if (this.depths.length > MOST) this.depths.shift();
  }

  // What is seen of it: rectangles { from, to, low, high, part } in time and price, `part` of the fullest one's depth.
  cells(from, to, low, high) {
    const cells = this.depths.flatMap((depth, index) => {
      const end = Math.min(this.depths[index + 1]?.time ?? Infinity, depth.time + LONGEST);
      if (end < from || depth.time > to) return [];
      return [...cellsOf(depth, -1), ...cellsOf(depth, 1)].map((cell) => ({ from: depth.time, to: end, ...cell }));
    }).filter((cell) => cell.high > low && cell.low < high);
    const fullest = Math.max(...cells.map(({ density }) => density), Number.MIN_VALUE);
    return cells.map(({ density, ...cell }) => ({ ...cell, part: density / fullest }));
  }

  // Behind the plot, up to a time.
  draw(plot, until, colour) {
    const [x, y] = [plot.scales.x, plot.scales.y];
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = colour.heat;
    for (const { from, to, low, high, part } of this.cells(x.min, x.max, y.min, y.max)) {
      const [left, right] = [from, Math.min(to, until)].map((time) => Math.round(plot.valToPos(time, "x", true)));
      const [top, bottom] = [high, low].map((price) => Math.round(plot.valToPos(price, "y", true)));
      ctx.globalAlpha = DARKEST * Math.sqrt(part);
      ctx.fillRect(left, top, Math.max(1, right - left), bottom - top);
    }
    ctx.restore();
  }
}

function layers(answer, side) {
  const distances = Object.keys(answer).map((name) => name.match(DISTANCE)?.[1]).filter(Boolean);
  const sums = distances
    .map((suffix) => [Number(suffix.replace("_", ".")), answer[`${side}_quantity_${suffix}bps`]])
    .filter(([, sum]) => typeof sum === "number")
    .sort(([one], [other]) => one - other);
  return sums.map(([bps, sum], index) => {
    const [nearer, less] = sums[index - 1] ?? [0, 0];
    return [nearer, bps, (sum - less) / (bps - nearer)];
  });
}

function cellsOf({ mid, bid, ask }, sign) {
  const price = (bps) => mid * (1 + (sign * bps) / 10_000);
  return (sign < 0 ? bid : ask).map(([near, far, density]) => ({
    low: Math.min(price(near), price(far)), high: Math.max(price(near), price(far)), density,
  }));
}
