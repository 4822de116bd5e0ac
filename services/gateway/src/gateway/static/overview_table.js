// Draws the overview: of all rows those that can be seen, at most once a frame, and only the cells that changed.

import { COLUMNS, STATES, columnOf, filtered, sorted } from "./overview_columns.js";
import { drawLine } from "./sparkline.js";
import { keyOf } from "./symbols.js";

const USUAL = "symbol";
const HEIGHT = 34; // of a row, as in overview.css
const BEYOND = 6; // rows drawn on either side of those that are seen
const PAUSES = [1, 5, 20, 60]; // seconds before the lines are asked for again; the gateway may first have to ask the store

const NONE_KNOWN = [];

const byId = (id) => document.getElementById(id);

export class OverviewTable {
  // `remember(view)` keeps { sort, text, venue, state } in the address, `open(key)` shows a symbol.
  constructor(section, { remember, open }) {
    this.remember = remember;
    this.open = open;
    this.scroller = byId("overview-rows");
    this.head = section.querySelector("thead tr");
    this.body = section.querySelector("tbody");
    this.view = { sort: USUAL, text: "", venue: "", state: "" };
    [this.quotes, this.rows, this.lines] = [[], [], {}];
    this.drawing = false;
    this.timer = 0;
    this.makeHead();
    this.offer();
  }

  // ---- what comes in

  // Shows the view that the address asks for.
  show({ sort, text, venue, state }) {
    const isKnown = !sort || columnOf(sort);
    this.problem = isKnown ? "" : `the address asks to sort by ${sort.slice(0, 20)}, which is none of ${COLUMNS.filter(({ value }) => value).map(({ name }) => name).join(", ")}`;
    this.view = { sort: isKnown && sort ? sort : USUAL, text: text.slice(0, 64), venue: venue.slice(0, 64), state: state.slice(0, 20) };
    byId("overview-text").value = this.view.text;
    this.fillChoices();
    this.arrange();
    clearTimeout(this.timer);
    this.askLines(PAUSES);
    if (matchMedia("(hover: hover)").matches) byId("overview-text").focus();
  }

  // Nothing is asked for while the overview is closed.
  rest() {
    clearTimeout(this.timer);
  }

  take({ quotes, note }) {
    this.quotes = quotes;
    this.note = note;
    this.fillChoices();
    if (this.isPointedAt()) this.refresh();
    else this.arrange();
  }

  async askLines([pause, ...later]) {
    const answer = await fetch("api/overview/lines", { signal: AbortSignal.timeout(5000) }).catch(() => null);
    if (answer?.ok) this.lines = (await answer.json()).lines;
    this.redraw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.askLines(later.length ? later : [pause]), pause * 1000);
  }

  // ---- which rows, in which order

  arrange() {
    this.rows = sorted(filtered(this.quotes, this.view), this.view.sort);
    this.redraw();
  }

  // Under the reader's hand the rows stay where they are; only their values change.
  refresh() {
    const newest = new Map(this.quotes.map((quote) => [keyOf(quote), quote]));
    this.rows = this.rows.map((row) => newest.get(keyOf(row)) ?? row);
    this.redraw();
  }

  isPointedAt() {
    return this.body.matches(":hover") || this.body.contains(document.activeElement);
  }

  change(view) {
    this.problem = "";
    this.view = { ...this.view, ...view };
    this.remember({ ...this.view, sort: this.view.sort === USUAL ? "" : this.view.sort });
    this.arrange();
    this.scroller.scrollTop = 0;
  }

  // ---- drawing

  redraw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  draw() {
    if (!this.scroller.clientHeight) return;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / HEIGHT) - BEYOND);
    const count = Math.ceil(this.scroller.clientHeight / HEIGHT) + 2 * BEYOND;
    const seen = this.rows.slice(first, first + count);
    const focused = this.body.contains(document.activeElement) && document.activeElement.dataset.key;
    const [above, ...drawn] = this.makeRows(seen.length);
    const below = drawn.pop();
    above.style.height = `${first * HEIGHT}px`;
    below.style.height = `${Math.max(0, this.rows.length - first - seen.length) * HEIGHT}px`;
    seen.forEach((row, index) => this.fill(drawn[index], row, first + index));
    if (focused) this.focusOn(focused);
    this.drawHead();
    this.tell();
  }

  // One row as high as all that are not drawn, before those that are and behind them.
  makeRows(count) {
    while (this.body.rows.length > count + 2) this.body.lastChild.previousSibling.remove();
    if (!this.body.rows.length) this.body.append(...[0, 0].map(() => Object.assign(document.createElement("tr"), { className: "room", ariaHidden: "true" })));
    while (this.body.rows.length < count + 2) this.body.lastChild.before(makeRow());
    return [...this.body.rows];
  }

  fill(element, row, index) {
    const key = keyOf(row);
    element.dataset.state = row.state;
    element.title = row.problem ?? "";
    element.setAttribute("aria-rowindex", String(index + 2));
    const link = element.cells[0].firstChild;
    link.dataset.key = key;
    const address = `./#${key.split("/").map(encodeURIComponent).join("/")}`;
    if (link.getAttribute("href") !== address) link.setAttribute("href", address);
    COLUMNS.forEach(({ name, text, side }, column) => {
      const cell = element.cells[column];
      if (name === "line") return drawLine(cell.firstChild, this.lines[key] ?? NONE_KNOWN, row.price);
      write(column ? cell : link, text(row));
      if (side) cell.className = side(row);
    });
  }

  focusOn(key) {
    const link = [...this.body.querySelectorAll("a")].find((each) => each.dataset.key === key);
    const instead = this.body.contains(document.activeElement) ? document.activeElement : this.scroller;
    (link ?? instead).focus({ preventScroll: true });
  }

  drawHead() {
    const { sort } = this.view;
    COLUMNS.forEach(({ name, value }, column) => {
      if (!value) return;
      const isSorted = name === sort.replace("-", "");
      const order = !isSorted ? "none" : sort.startsWith("-") ? "descending" : "ascending";
      if (this.head.cells[column].getAttribute("aria-sort") !== order) this.head.cells[column].setAttribute("aria-sort", order);
    });
  }

  tell() {
    const [count, all] = [this.rows.length, this.quotes.length];
    write(byId("overview-count"), count === all ? `${all} ${all === 1 ? "symbol" : "symbols"}` : `${count} of ${all} symbols`);
    byId("overview-table").setAttribute("aria-rowcount", String(count + 1));
    const empty = this.note ? `changes over 1h, 24h and the line of the day are not known: ${this.note}` : "";
    const nothing = all && !count ? "no symbol is like that: change the filter" : "";
    const sentence = [this.problem, nothing, empty].filter(Boolean).join("; ");
    write(byId("overview-note"), sentence);
    byId("overview-note").hidden = !sentence;
  }

  makeHead() {
    this.head.replaceChildren(...COLUMNS.map(({ name, label, title, value }) => {
      const cell = Object.assign(document.createElement("th"), { scope: "col", title: title ?? "" });
      cell.dataset.column = name;
      if (!value) return Object.assign(cell, { textContent: label });
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
      if (title) button.setAttribute("aria-label", `${label}: ${title}`);
      button.addEventListener("click", () => this.sortBy(name));
      cell.append(button);
      return cell;
    }));
  }

  // Names begin at A, numbers with the greatest; once more turns that round.
  sortBy(name) {
    const downwards = `-${name}`;
    const first = ["symbol", "venue"].includes(name) ? name : downwards;
    const other = first === name ? downwards : name;
    this.change({ sort: this.view.sort === first ? other : first });
  }

  fillChoices() {
    const venues = new Set(this.quotes.map(({ venue }) => venue));
    const states = new Set(this.quotes.map(({ state }) => state));
    if (this.view.venue) venues.add(this.view.venue);
    if (this.view.state) states.add(this.view.state);
    fillSelect(byId("overview-venue"), [...venues].sort().map((venue) => [venue, venue]), this.view.venue);
    const known = Object.keys(STATES);
    const inOrder = [...states].sort((one, other) => known.indexOf(one) - known.indexOf(other));
    fillSelect(byId("overview-state"), inOrder.map((state) => [state, STATES[state] ?? state]), this.view.state);
  }

  // ---- what the reader does

  offer() {
    byId("overview-text").addEventListener("input", (event) => this.change({ text: event.target.value }));
    byId("overview-venue").addEventListener("change", (event) => this.change({ venue: event.target.value }));
    byId("overview-state").addEventListener("change", (event) => this.change({ state: event.target.value }));
    this.scroller.addEventListener("scroll", () => this.redraw(), { passive: true });
    new ResizeObserver(() => this.redraw()).observe(this.scroller);
    this.body.addEventListener("click", (event) => {
      const link = event.target.closest("tr")?.querySelector("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.open(link.dataset.key);
    });
    this.scroller.addEventListener("keydown", (event) => this.step(event));
  }

  // Arrows, Home and End go from row to row, beyond those that are drawn, too.
  step(event) {
    const key = document.activeElement?.dataset?.key;
    const at = key ? this.rows.findIndex((row) => keyOf(row) === key) : -1;
    const page = Math.floor(this.scroller.clientHeight / HEIGHT) - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: Infinity }[event.key];
    if (to === undefined || !this.rows.length || (at < 0 && event.key !== "ArrowDown")) return;
    event.preventDefault();
    const index = Math.min(this.rows.length - 1, Math.max(0, to));
    const [top, room] = [index * HEIGHT, this.scroller.clientHeight - 2 * HEIGHT];
    this.scroller.scrollTop = Math.min(top, Math.max(this.scroller.scrollTop, top - room));
    this.draw();
    this.focusOn(keyOf(this.rows[index]));
  }
}

function makeRow() {
  const row = document.createElement("tr");
  for (const { name } of COLUMNS) {
    const cell = document.createElement(name === "symbol" ? "th" : "td");
    if (name === "symbol") {
      cell.scope = "row";
      cell.append(document.createElement("a"));
    }
    if (name === "line") cell.append(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
    cell.dataset.column = name;
    row.append(cell);
  }
  return row;
}

function fillSelect(select, options, chosen) {
  const wanted = [["", select.options[0].textContent], ...options];
  const isSame = wanted.length === select.options.length && wanted.every(([value], index) => select.options[index].value === value);
  if (!isSame) select.replaceChildren(...wanted.map(([value, text]) => new Option(text, value)));
  if (select.value !== chosen) select.value = chosen;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
