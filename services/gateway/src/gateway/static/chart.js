// Fair price as line or candles, bid-ask band and gaps over a time that the reader chooses, drawn by uPlot; behind it the
// depth, below it spread and imbalance.

import { candles, drawCandles, stepOf } from "./candles.js";
import { facts, showFacts } from "./crosshair.js";
import { number, words } from "./format.js";
import { Heat } from "./heat.js";
import { navigate } from "./navigation.js";
import { HEIGHT as PANE, makePane } from "./pane.js";
import { plotIn } from "./plot.js";
import { LINE, LONGEST, SHORTEST } from "./ranges.js";
import { Series, rowOfPoint } from "./series.js";
import { timeText } from "./zone.js";

const MOST_GAPS = 600;
const AHEAD = 10_000; // milliseconds that the widest band looks ahead
const LONGEST_WITH_BAND = 3600_000; // in a longer view it would be too narrow to be seen
const SMALLEST_GAP = 3; // pixels, or a short gap could not be seen
const [LOW, HIGH] = [1, 2]; // where these columns are
const LETTER = 6.2; // pixels of one on an axis
const LABEL = 17; // pixels between the middles of a label and of a tick's text beside it
const LONGEST_PAUSE = 500; // milliseconds that a new price may be told by the label alone
const SEEN = 3; // pixels by which it may move meanwhile
const TOGETHER = "chart"; // the name under which both plots move their crosshair

export class Chart {
  // `onView` is called when the reader has chosen another view; what has changed is drawn by the next `draw`.
  constructor(element, onView) {
    this.element = element;
    this.onView = onView;
    this.span = 300_000;
    this.end = null; // null: the newest price
    this.style = LINE;
    this.decimals = 2;
    this.outdated = []; // plots that the next drawing makes anew
    [this.price, this.below] = ["chart-price", "chart-pane"].map((name) => element.appendChild(made(name)));
    [this.label, this.pointer, this.tip] = ["chart-label", "chart-label pointer", "chart-tip"].map((name) => element.appendChild(made(name, true)));
    this.clear();
    this.size = { width: 0, height: 0 }; // asked for once, as each question makes the browser lay out the page
    new ResizeObserver(([{ contentRect }]) => this.resize(contentRect)).observe(element);
    navigate(element, {
      plot: () => this.plot?.over.getBoundingClientRect() ?? element.getBoundingClientRect(),
      view: () => ({ ...this.view(), follows: this.end === null }),
      move: (from, to) => this.move(from, to),
      home: () => this.choose(this.span, null),
    });
  }

  clear() {
    this.series = new Series();
    this.heat = new Heat();
    this.gaps = new Map();
    this.newest = null; // the price that the rest of the page shows; later points wait until it has reached them
    this.changed = true;
  }

  get isEmpty() {
    return !this.series.newest;
  }

  // ---- what is known

  add(event) {
    this.series.add(...pointOf(event));
  }

  // Takes an answer of /api/depth.
  addDepth(depth) {
    this.heat.add(depth, this.series.priceAt(depth.event_time / 1000));
    this.changed = true;
  }

  loadRecent(history) {
    this.series.loadRecent(history);
    for (const key of [...this.gaps.keys()].filter((each) => each.startsWith("recent "))) this.gaps.delete(key);
    for (const gap of history.gaps) this.addGap(gap);
    this.changed = true;
  }

  loadBars(history) {
    this.series.loadBars(history);
    for (const key of [...this.gaps.keys()].filter((each) => each.startsWith("stored "))) this.gaps.delete(key);
    for (const gap of history.gaps) this.addGap(gap, "stored");
    this.changed = true;
  }

  addGap(gap, source = "recent") {
    if (gap.open_ids === 0) return; // another crawler has brought what this one missed
    const { from_time: from, to_time: to, reason } = gap;
    this.gaps.set(`${source} ${gap.from_update_id}-${gap.to_update_id}`, { from: from / 1000, to: to / 1000, reason });
    if (this.gaps.size > MOST_GAPS) this.gaps.delete(this.gaps.keys().next().value);
    this.changed = true;
  }

  // The next drawing goes up to this price, which also is what the label says, in one moment with the rest of the page.
  show(price) {
    this.newest = price;
    this.isNew = true;
  }

  // ---- what is looked at

  // The newest time that is known, which the view cannot go beyond.
  latest() {
    return this.newest ? this.newest.event_time / 1000 : this.series.newest;
  }

  view() {
    const to = this.end ?? this.latest();
    return { from: to - this.span, to };
  }

  move(from, to) {
    const span = Math.min(LONGEST, Math.max(SHORTEST, to - from));
    const end = to - from === span ? to : (from + to + span) / 2; // what cannot be zoomed further stays where it is
    const isNewest = end >= this.latest() - span / 1000;
    if (end - span > 0) this.choose(span, isNewest ? null : end);
  }

  choose(span, end) {
    [this.span, this.end] = [span, end];
    this.changed = true;
    this.onView();
  }

  setStyle(style) {
    this.style = style;
    this.redraw();
    this.onView();
  }

  // ---- drawing

  draw() {
    if (!(this.changed || this.isNew) || document.hidden || !window.uPlot || !this.size.height) return;
    if (this.changed || this.looksOld()) this.paint();
    this.drawLabel();
    if (this.newest) this.element.dataset.updateId = this.newest.update_id;
    else delete this.element.dataset.updateId;
  }

  // Whether a pixel of time has passed since the last painting, or the price is elsewhere: painting is what costs most.
  looksOld() {
    const { painted, plot } = this;
    const pause = Math.min(LONGEST_PAUSE, this.span / this.size.width);
    const moved = Math.abs(plot.valToPos(this.newest.price ?? 0, "y") - plot.valToPos(painted.price ?? 0, "y"));
    return performance.now() - painted.at >= pause || moved > SEEN || this.hasBand() !== painted.hasBand;
  }

  paint() {
    this.changed = this.isNew = false;
    this.painted = { at: performance.now(), price: this.newest?.price, hasBand: this.hasBand() };
    this.clearAway();
    const { from, to } = this.view();
    const gaps = this.openGaps();
    const last = this.newest && rowOfPoint(...pointOf(this.newest));
    this.columns = this.series.columns(from, to, gaps.map((gap) => [gap.from, gap.to]), last, this.size.width);
    this.plot ??= this.make();
    const { rows, time, low, high, price, doubtful, spread, imbalance } = this.columns;
    this.candles = this.style === LINE ? [] : candles(rows, stepOf(from, to, this.size.width, rows));
    this.update(this.plot, [time, low, high, price, doubtful], from, to);
    this.pane ??= makePane(this.below, this.size.width, this.plot, this.colour, this.axis(), tickTexts, TOGETHER);
    this.update(this.pane, [time, spread, imbalance], from, to);
    this.drawGaps(gaps);
    this.tell(from, to);
  }

  // Drawn once and at once, as what is laid upon the plot needs its new scales.
  update(plot, columns, from, to) {
    plot.batch(() => {
      plot.begin();
      plot.setData(columns, false);
      plot.setScale("x", { min: from, max: this.hasBand() ? to + AHEAD : to });
      plot.redraw(false, true);
    });
  }

  // Made anew by the next drawing: after a change of theme, size, style or zone.
  resize({ width, height }) {
    this.size = { width, height };
    this.redraw();
  }

  redraw() {
    this.outdated = [this.plot, this.pane].filter(Boolean);
    this.changed = true;
  }

  clearAway() {
    for (const plot of this.outdated) plot.destroy();
    if (this.outdated.length) this.plot = this.pane = null;
    this.outdated = [];
  }

  hasBand() {
    return this.end === null && this.span <= LONGEST_WITH_BAND && isNumber(this.newest?.band_10s_low) && isNumber(this.newest.band_1s_low);
  }

  // A gap that is told by both the gateway and the store is one.
  openGaps() {
    const known = new Map([...this.gaps].map(([key, gap]) => [key.split(" ")[1], gap]));
    return [...known.values()].sort((one, other) => one.from - other.from);
  }

  tell(from, to) {
    const { dataset } = this.element;
    const values = [...this.columns.low, ...this.columns.high].filter(isNumber);
    Object.assign(dataset, {
      points: this.columns.time.length, from: Math.round(from), to: Math.round(to), doubtful: this.columns.doubtful.filter(isNumber).length,
      candles: this.candles.length, depths: this.heat.depths.length, spreads: this.columns.spread.filter(isNumber).length,
      imbalances: this.columns.imbalance.filter(isNumber).length,
      low: Math.min(...values), high: Math.max(...values), follows: this.end === null,
      band: JSON.stringify(this.hasBand() ? this.band() : []),
    });
  }

  make() {
    const colour = (this.colour = colours());
    const line = { show: this.style === LINE, points: { show: false }, spanGaps: false, paths: uPlot.paths.stepped({ align: 1 }) };
    return plotIn(this.price, {
      ms: 1,
      width: this.size.width,
      height: this.size.height - PANE,
      padding: [8, 0, 4, 8],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, bind: { dblclick: () => null }, sync: { key: TOGETHER } },
      scales: { x: { time: true, auto: false }, y: { range: (plot, low, high) => this.height(low, high) } },
      series: [
        {},
        { ...line, stroke: colour.bidLine, width: 1 },
        { ...line, stroke: colour.askLine, width: 1 },
        { ...line, stroke: colour.accent, width: 1.8 },
        { ...line, stroke: colour.warn, width: 1.4, dash: [4, 3] },
      ],
      bands: [{ series: [HIGH, LOW], fill: colour.band }],
      axes: [
        { show: false },
        { ...this.axis(), side: 1, grid: { stroke: colour.line, width: 1 }, size: (plot, texts) => 16 + LETTER * Math.max(4, ...(texts ?? []).map((text) => text.length)), space: 34, values: (plot, ticks) => this.priceTexts(plot, ticks) },
      ],
      hooks: {
        drawClear: [(plot) => this.heat.draw(plot, this.view().to, colour)],
        draw: [(plot) => this.drawBeside(plot, colour)],
        setCursor: [(plot) => this.showPointer(plot)],
      },
    });
  }

  axis() {
    return { stroke: this.colour.quiet, font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
  }

  // No text where the label of the newest price lies upon it.
  priceTexts(plot, ticks) {
    const at = (price) => plot.valToPos(price, "y");
    const isCovered = (tick) => isNumber(this.newest?.price) && Math.abs(at(tick) - at(this.newest.price)) < LABEL;
    return ticks.map((tick) => (isCovered(tick) ? "" : number(tick, this.decimals)));
  }

  // Room for the newest price and its band, and never a scale of nothing.
  height(low, high) {
    const band = this.hasBand() ? [this.newest.band_10s_low, this.newest.band_10s_high] : [];
    const ends = this.candles.length ? this.candles.flatMap(({ bottom, top }) => [bottom, top]) : [low, high];
    const values = [...ends, ...(this.end === null ? [this.newest?.price] : []), ...band].filter(isNumber);
    if (!values.length) return [0, 1];
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = (most - least) * 0.06 || Math.abs(most) * 1e-5 || 1;
    return [least - room, most + room];
  }

  drawBeside(plot, colour) {
    const { ctx } = plot;
    drawCandles(plot, this.candles, colour);
    const [x, y] = [(time) => plot.valToPos(time, "x", true), (value) => plot.valToPos(value, "y", true)];
    ctx.save();
    ctx.strokeStyle = colour.accent;
    ctx.fillStyle = colour.band;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    if (this.hasBand()) {
      ctx.beginPath();
      this.band().forEach(([time, value], index) => (index ? ctx.lineTo(x(time), y(value)) : ctx.moveTo(x(time), y(value))));
      ctx.closePath();
      ctx.fill();
      ctx.stroke();
    }
    ctx.restore();
  }

  // The corners of what the newest price expects, from its mid on: a shape that opens to the right.
  band() {
    const price = this.newest;
    const ends = [[0, price.mid, price.mid], [1000, price.band_1s_low, price.band_1s_high], [AHEAD, price.band_10s_low, price.band_10s_high]];
    const at = price.event_time / 1000;
    return [...ends.map(([ahead, , high]) => [at + ahead, high]), ...ends.map(([ahead, low]) => [at + ahead, low]).reverse()];
  }

  drawLabel() {
    const price = this.newest?.price;
    this.label.hidden = !isNumber(price);
    if (this.label.hidden) return;
    const text = number(price, this.decimals);
    if (this.label.textContent !== text) this.label.textContent = text;
    const below = this.plot.valToPos(price, "y");
    this.place(this.label, Math.min(this.plot.bbox.height / devicePixelRatio, Math.max(0, below)));
  }

  drawGaps(gaps) {
    const { under, bbox } = this.plot;
    const { from, to } = this.view();
    const [min, max, width] = [from, this.hasBand() ? to + AHEAD : to, bbox.width / devicePixelRatio];
    const place = (time) => Math.min(width, Math.max(0, ((time - min) / (max - min)) * width));
    const seen = gaps.filter((gap) => gap.to >= min && gap.from <= to);
    if (!seen.length && !under.childElementCount) return;
    under.replaceChildren(...seen.map((gap) => {
      const [left, right] = [place(gap.from), place(Math.min(gap.to, to))];
      const mark = made("chart-gap");
      mark.style.left = `${left}px`;
      mark.style.width = `${Math.max(SMALLEST_GAP, right - left)}px`;
      mark.dataset.reason = words(gap.reason);
      return mark;
    }));
  }

  // What is known at the time under the pointer, and which price its height means.
  showPointer(plot) {
    const { left, top, idx } = plot.cursor;
    const at = plot.posToVal(left, "x");
    this.tip.hidden = !(left >= 0) || !isNumber(idx) || Math.abs(this.columns.time[idx] - at) > this.span / 20;
    this.pointer.hidden = this.tip.hidden || !(top >= 0);
    if (this.tip.hidden) return;
    const gap = this.openGaps().find((each) => each.from <= at + 1 && at - 1 <= Math.max(each.to, each.from + (SMALLEST_GAP * this.span) / plot.over.clientWidth));
    const candle = this.candles.findLast(({ time }) => time <= at);
    showFacts(this.tip, facts(this.columns.rows[idx], candle, gap, this.decimals));
    this.pointer.textContent = number(plot.posToVal(top, "y"), this.decimals);
    this.place(this.pointer, top);
  }

  // On the axis of prices, so many pixels below the upper edge of the plot.
  place(label, below) {
    const { left, top, width } = this.plot.bbox;
    label.style.translate = `${(left + width) / devicePixelRatio}px calc(${top / devicePixelRatio + below}px - 50%)`;
    label.style.maxWidth = `${this.size.width - (left + width) / devicePixelRatio}px`;
  }
}

const pointOf = ({ event_time: time, price, bid, ask, imbalance }) => [time / 1000, price, bid, ask, imbalance ?? null];

// A text that would be cut off at the left edge is left out.
function tickTexts(plot, ticks, step) {
  return ticks.map((tick) => {
    const text = tickText(tick, step);
    return plot.valToPos(tick, "x") + plot.bbox.left / devicePixelRatio < (text.length * LETTER) / 2 ? "" : text;
  });
}

// A day begins with its date.
function tickText(time, step) {
  const text = timeText(time);
  if (step >= 86_400_000 || text.slice(11, 19) === "00:00:00") return text.slice(5, 10);
  return text.slice(11, step >= 60_000 ? 16 : 19);
}

function made(name, isHidden = false) {
  return Object.assign(document.createElement("div"), { className: name, hidden: isHidden });
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    quiet: read("quiet"), line: read("line"), accent: read("accent"), warn: read("warn"),
    bid: read("bid"), ask: read("ask"), bidLine: read("bid-line"), askLine: read("ask-line"), band: read("band"), heat: read("heat"),
  };
}
