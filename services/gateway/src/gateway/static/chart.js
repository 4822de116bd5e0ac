// Fair price, bid-ask band and gaps over the last minutes, drawn by plotly.

const MOST_POINTS = 2000;
const SHORTEST_SLOT = 100; // milliseconds
const MOST_GAPS = 100;
const AHEAD = 10_000; // milliseconds that the widest band looks ahead
const PAUSE = 250; // milliseconds between two looks for what has changed beside the price
const SMALLEST_GAP = 250; // milliseconds, or a short gap could not be seen

export class Chart {
  constructor(element) {
    this.element = element;
    this.minutes = 5;
    this.decimals = 2;
    this.view = 0; // a new one forgets how the reader has zoomed
    this.clear();
    setInterval(() => this.draw(), PAUSE);
    document.addEventListener("visibilitychange", () => this.draw());
    new ResizeObserver(() => this.fit()).observe(element);
  }

  clear() {
    this.time = [];
    this.price = [];
    this.bid = [];
    this.ask = [];
    this.gaps = new Map();
    this.newest = null; // the price that the rest of the page shows; later points wait until it has reached them
    this.changed = true;
    this.view += 1;
  }

  // Takes the answer of /api/history between the points that are older than it, which a gateway that was started anew
  // does not have, and those that came while it was under way.
  load(history) {
    const time = history.time.map((each) => each / 1000);
    const points = this.points();
    const older = points.filter(([each]) => each < (time[0] ?? Infinity));
    const newer = points.filter(([each]) => each > time.at(-1));
    [this.time, this.price, this.bid, this.ask] = [[], [], [], []];
    for (const point of older) this.push(...point);
    time.forEach((each, index) => this.push(each, history.price[index], history.bid[index], history.ask[index]));
    for (const point of newer) this.push(...point);
    this.gaps.clear();
    for (const gap of history.gaps) this.addGap(gap);
    this.changed = true;
  }

  add(event) {
    const time = event.event_time / 1000;
    if (time < this.time.at(-1)) return;
    this.push(time, event.price, event.bid, event.ask);
  }

  // Draws up to this price, which also is what the label says, at once, in one moment with the rest of the page.
  show(price) {
    this.newest = price;
    this.changed = true;
    this.draw();
  }

  addGap(gap) {
    if (gap.open_ids === 0) return; // another crawler has brought what this one missed
    this.gaps.set(`${gap.from_update_id}-${gap.to_update_id}`, [gap.from_time / 1000, gap.to_time / 1000]);
    if (this.gaps.size > MOST_GAPS) this.gaps.delete(this.gaps.keys().next().value);
    this.changed = true;
  }

  points() {
    return this.time.map((time, index) => [time, this.price[index], this.bid[index], this.ask[index]]);
  }

  // Of all points in one slot the last stays, as in the gateway's history.
  push(time, price, bid, ask) {
    const slot = Math.ceil((this.minutes * 60000) / MOST_POINTS / SHORTEST_SLOT) * SHORTEST_SLOT;
    const columns = [this.time, this.price, this.bid, this.ask];
    if (Math.floor(this.time.at(-1) / slot) === Math.floor(time / slot)) columns.forEach((column) => column.pop());
    [time, price, bid, ask].forEach((value, index) => columns[index].push(value));
    if (this.time.length > MOST_POINTS * 1.2) columns.forEach((column) => column.splice(0, MOST_POINTS * 0.2));
  }

  draw() {
    if (!this.changed || document.hidden || !window.Plotly || !this.element.clientHeight) return;
    this.changed = false;
    const isNew = !this.element.classList.contains("js-plotly-plot");
    const columns = this.visible();
    Plotly.react(this.element, this.traces(columns), this.layout(columns), { displayModeBar: false, doubleClick: false });
    if (this.newest) this.element.dataset.updateId = this.newest.update_id;
    else delete this.element.dataset.updateId;
    if (isNew) this.element.on("plotly_doubleclick", () => this.restyle());
  }

  // Plotly itself notices only when the window changes, not when a banner above takes room.
  fit() {
    if (this.element.classList.contains("js-plotly-plot") && this.element.clientHeight) Plotly.Plots.resize(this.element);
  }

  // Draws everything anew: after a change of theme or range.
  restyle() {
    this.view += 1;
    this.changed = true;
    this.draw();
  }

  // Only what is in view, or the scale would follow prices that are not; and the point before, so that lines start at the edge.
  visible() {
    if (!this.newest) return { time: [], price: [], bid: [], ask: [] };
    const end = this.newest.event_time / 1000;
    const first = Math.max(0, this.before(end - this.minutes * 60000) - 1);
    const last = this.before(end);
    const column = (points, newest) => [...points.slice(first, last), newest];
    return {
      time: column(this.time, end), price: column(this.price, this.newest.price), bid: column(this.bid, this.newest.bid), ask: column(this.ask, this.newest.ask),
    };
  }

  before(limit) {
    const index = this.time.findIndex((time) => time >= limit);
    return index < 0 ? this.time.length : index;
  }

  traces({ time, price, bid, ask }) {
    const colour = colours();
    const format = `,.${this.decimals}f`;
    const line = { x: time, type: "scatter", mode: "lines" };
    return [
      { ...line, name: "bid", y: bid, line: { width: 1, color: colour.bidLine, shape: "hv" }, hovertemplate: `%{y:${format}}` },
      { ...line, name: "ask", y: ask, line: { width: 1, color: colour.askLine, shape: "hv" }, fill: "tonexty", fillcolor: colour.band, hovertemplate: `%{y:${format}}` },
      ...cone(this.newest, colour),
      { ...line, name: "fair", y: price, line: { width: 1.8, color: colour.accent, shape: "hv" }, hovertemplate: `<b>%{y:,.${this.decimals + 1}f}</b>` },
    ];
  }

  layout({ time, price }) {
    const colour = colours();
    const end = time.at(-1) ?? 0;
    const start = end - this.minutes * 60000;
    const axis = { gridcolor: colour.line, linecolor: colour.line, zeroline: false, color: colour.quiet, tickfont: { size: 11 }, automargin: false };
    const last = price.at(-1) ?? null;
    return {
      uirevision: this.view,
      margin: { l: 8, r: 20 + 7 * (last ?? 0).toFixed(this.decimals).length, t: 6, b: 30 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: colour.quiet, size: 11 },
      showlegend: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: colour.panel, bordercolor: colour.line, font: { color: colour.text, size: 12 } },
      // On a touch screen a drag scrolls the page.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: { ...axis, type: "date", range: [start, isNumber(this.newest?.band_10s_low) ? end + AHEAD : end], showgrid: false, hoverformat: "%H:%M:%S.%1f UTC", tickformat: this.minutes > 1 ? "%H:%M" : "%H:%M:%S", nticks: this.element.clientWidth < 500 ? 3 : 7, tickangle: 0 },
      yaxis: { ...axis, side: "right", tickformat: `,.${this.decimals}f`, nticks: 7 },
      shapes: [...this.gapShapes(start, end, colour), ...(last === null ? [] : [level(last, colour)])],
      annotations: last === null ? [] : [tag(last, this.decimals, colour)],
    };
  }

  gapShapes(start, end, colour) {
    return [...this.gaps.values()]
      .filter(([, to]) => to >= start)
      .map(([from, to]) => ({
        type: "rect", xref: "x", yref: "paper", y0: 0, y1: 1, layer: "below", name: "gap",
        x0: from, x1: Math.min(Math.max(to, from + SMALLEST_GAP), end), fillcolor: colour.gap, line: { width: 1, color: colour.gap },
      }));
  }
}

// The bands of the newest price, from its mid on, as a shape that opens to the right: nothing where nothing is learnt yet.
function cone(price, colour) {
  if (!isNumber(price?.band_1s_low) || !isNumber(price.band_10s_low)) return [];
  const ends = [[0, price.mid, price.mid], [1000, price.band_1s_low, price.band_1s_high], [AHEAD, price.band_10s_low, price.band_10s_high]];
  const there = ends.map(([ahead, , high]) => [price.event_time / 1000 + ahead, high]);
  const back = ends.map(([ahead, low]) => [price.event_time / 1000 + ahead, low]).reverse();
  const corners = [...there, ...back];
  return [{
    type: "scatter", mode: "lines", name: "band", x: corners.map(([time]) => time), y: corners.map(([, value]) => value),
    fill: "toself", fillcolor: colour.band, line: { width: 1, dash: "dot", color: colour.accent }, hoverinfo: "skip",
  }];
}

const isNumber = (value) => typeof value === "number";

function level(price, colour) {
  return { type: "line", xref: "paper", x0: 0, x1: 1, y0: price, y1: price, line: { width: 1, dash: "dot", color: colour.accent } };
}

function tag(price, decimals, colour) {
  const text = price.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return {
    xref: "paper", x: 1, xanchor: "left", y: price, yanchor: "middle", showarrow: false, text, borderpad: 3,
    bgcolor: colour.accent, font: { color: colour.onAccent, size: 11 },
  };
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: read("text"), quiet: read("quiet"), line: read("line"), panel: read("panel"), accent: read("accent"), onAccent: read("on-accent"),
    bidLine: read("bid-line"), askLine: read("ask-line"), band: read("band"), gap: read("gap"),
  };
}
