// Fair price, bid-ask band and gaps over a time that the reader chooses, drawn by uPlot.

import { moment, number, words } from "./format.js";
import { navigate } from "./navigation.js";
import { LONGEST, SHORTEST } from "./ranges.js";
import { Series, rowOfPoint } from "./series.js";

const MOST_GAPS = 600;
const AHEAD = 10_000; // milliseconds that the widest band looks ahead
const LONGEST_WITH_BAND = 3600_000; // in a longer view it would be too narrow to be seen
const PAUSE = 250; // milliseconds between two looks for what has changed beside the price
const SMALLEST_GAP = 3; // pixels, or a short gap could not be seen
const [LOW, HIGH] = [1, 2]; // where these columns are
const VERDICTS = {
  unverified: "not verified: not compared with the exchange", suspect: "suspect: a comparison with the exchange was wrong",
  hole: "updates are missing",
};

export class Chart {
  // `onView` is called when the reader has chosen another view.
  constructor(element, onView) {
    this.element = element;
    this.onView = onView;
    this.span = 300_000;
    this.end = null; // null: the newest price
    this.decimals = 2;
    this.label = element.appendChild(made("chart-label"));
    this.tip = element.appendChild(made("chart-tip"));
    this.clear();
    setInterval(() => this.draw(), PAUSE);
    document.addEventListener("visibilitychange", () => this.draw());
    new ResizeObserver(() => this.redraw()).observe(element);
    navigate(element, {
      plot: () => this.plot?.over.getBoundingClientRect() ?? element.getBoundingClientRect(),
      view: () => ({ ...this.view(), follows: this.end === null }),
      move: (from, to) => this.move(from, to),
      home: () => this.choose(this.span, null),
    });
  }

  clear() {
    this.series = new Series();
    this.gaps = new Map();
    this.newest = null; // the price that the rest of the page shows; later points wait until it has reached them
    this.changed = true;
  }

  get isEmpty() {
    return !this.series.newest;
  }

  // ---- what is known

  add(event) {
    this.series.add(event.event_time / 1000, event.price, event.bid, event.ask);
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

  // Draws up to this price, which also is what the label says, at once, in one moment with the rest of the page.
  show(price) {
    this.newest = price;
    this.changed = true;
    this.draw();
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
    this.redraw();
    this.onView();
  }

  // ---- drawing

  draw() {
    if (!this.changed || document.hidden || !window.uPlot || !this.element.clientHeight) return;
    this.changed = false;
    const { from, to } = this.view();
    const gaps = this.openGaps();
    const last = this.newest && { ...rowOfPoint(this.newest.event_time / 1000, this.newest.price, this.newest.bid, this.newest.ask) };
    this.columns = this.series.columns(from, to, gaps.map((gap) => [gap.from, gap.to]), last);
    const { time, low, high, price, doubtful } = this.columns;
    this.plot ??= this.make();
    this.plot.setData([time, low, high, price, doubtful], false);
    this.plot.setScale("x", { min: from, max: this.hasBand() ? to + AHEAD : to });
    this.drawLabel();
    this.drawGaps(gaps);
    this.tell(from, to);
  }

  // Anew: after a change of theme, size or view.
  redraw() {
    this.plot?.destroy();
    this.plot = null;
    this.changed = true;
    this.draw();
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
    if (this.newest) dataset.updateId = this.newest.update_id;
    else delete dataset.updateId;
    const values = [...this.columns.low, ...this.columns.high].filter(isNumber);
    Object.assign(dataset, {
      points: this.columns.time.length, from: Math.round(from), to: Math.round(to), doubtful: this.columns.doubtful.filter(isNumber).length,
      low: Math.min(...values), high: Math.max(...values), follows: this.end === null,
      band: JSON.stringify(this.hasBand() ? this.band() : []),
    });
  }

  make() {
    const colour = colours();
    const utc = (time) => uPlot.tzDate(new Date(time), "UTC");
    const line = { points: { show: false }, spanGaps: false, paths: uPlot.paths.stepped({ align: 1 }) };
    const axis = { stroke: colour.quiet, font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
    return new uPlot({
      ms: 1,
      width: this.element.clientWidth,
      height: this.element.clientHeight,
      tzDate: utc,
      padding: [8, 0, 0, 8],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, bind: { dblclick: () => null } },
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
        { ...axis, grid: { show: false }, size: 28, space: 70, values: (plot, ticks, index, space, step) => ticks.map((tick) => tickText(tick, step)) },
        { ...axis, side: 1, grid: { stroke: colour.line, width: 1 }, size: (plot, texts) => 16 + 6.2 * Math.max(4, ...(texts ?? []).map((text) => text.length)), space: 34, values: (plot, ticks) => ticks.map((tick) => number(tick, this.decimals)) },
      ],
      hooks: { draw: [(plot) => this.drawBeside(plot, colour)], setCursor: [(plot) => this.showTip(plot)] },
    }, [[], [], [], [], []], this.element);
  }

  // Room for the newest price and its band, and never a scale of nothing.
  height(low, high) {
    const band = this.hasBand() ? [this.newest.band_10s_low, this.newest.band_10s_high] : [];
    const values = [low, high, ...(this.end === null ? [this.newest?.price] : []), ...band].filter(isNumber);
    if (!values.length) return [0, 1];
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = (most - least) * 0.06 || Math.abs(most) * 1e-5 || 1;
    return [least - room, most + room];
  }

  drawBeside(plot, colour) {
    const { ctx } = plot;
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
    if (isNumber(this.newest?.price)) {
      ctx.beginPath();
      ctx.moveTo(plot.bbox.left, y(this.newest.price));
      ctx.lineTo(plot.bbox.left + plot.bbox.width, y(this.newest.price));
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
    const { top, height } = this.plot.bbox;
    const [low, high] = [this.plot.scales.y.min, this.plot.scales.y.max];
    const part = Math.min(1, Math.max(0, (high - price) / (high - low || 1)));
    this.label.style.left = `${(this.plot.bbox.left + this.plot.bbox.width) / devicePixelRatio}px`;
    this.label.style.top = `${(top + part * height) / devicePixelRatio}px`;
  }

  drawGaps(gaps) {
    const { under } = this.plot;
    const { from, to } = this.view();
    const [min, max, width] = [from, this.hasBand() ? to + AHEAD : to, under.clientWidth];
    const place = (time) => Math.min(width, Math.max(0, ((time - min) / (max - min)) * width));
    const seen = gaps.filter((gap) => gap.to >= min && gap.from <= to);
    under.replaceChildren(...seen.map((gap) => {
      const [left, right] = [place(gap.from), place(Math.min(gap.to, to))];
      const mark = made("chart-gap");
      mark.style.left = `${left}px`;
      mark.style.width = `${Math.max(SMALLEST_GAP, right - left)}px`;
      mark.dataset.reason = words(gap.reason);
      return mark;
    }));
  }

  showTip(plot) {
    const { left, top, idx } = plot.cursor;
    const at = plot.posToVal(left, "x");
    this.tip.hidden = !(left >= 0) || !isNumber(idx) || Math.abs(this.columns.time[idx] - at) > this.span / 20;
    if (this.tip.hidden) return;
    const row = (name) => this.columns[name][idx];
    const price = row("price") ?? row("doubtful");
    const gap = this.openGaps().find((each) => each.from <= at + 1 && at - 1 <= Math.max(each.to, each.from + (SMALLEST_GAP * this.span) / plot.over.clientWidth));
    const lines = [
      moment(this.columns.time[idx] * 1000), isNumber(price) && `fair ${number(price, this.decimals + 1)}`,
      isNumber(row("low")) && `${number(row("low"), this.decimals)} to ${number(row("high"), this.decimals)}`,
      gap ? `gap: ${words(gap.reason)}` : VERDICTS[row("verdict")],
    ].filter(Boolean);
    this.tip.replaceChildren(...lines.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    const isRight = left > plot.over.clientWidth / 2;
    this.tip.style.left = isRight ? "" : `${left + 22}px`;
    this.tip.style.right = isRight ? `${this.element.clientWidth - left + 6}px` : "";
    this.tip.style.top = `${Math.min(top, plot.over.clientHeight - 80)}px`;
  }
}

// Times in UTC, as the rest of the page has them; a day begins with its date.
function tickText(time, step) {
  const text = new Date(time).toISOString();
  if (step >= 86_400_000 || text.slice(11, 19) === "00:00:00") return text.slice(5, 10);
  return text.slice(11, step >= 60_000 ? 16 : 19);
}

function made(name) {
  const element = document.createElement("div");
  element.className = name;
  element.hidden = name !== "chart-gap";
  return element;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    quiet: read("quiet"), line: read("line"), accent: read("accent"), warn: read("warn"),
    bidLine: read("bid-line"), askLine: read("ask-line"), band: read("band"),
  };
}
