// Ties the page together: what was received, and when what is drawn.

import { Chart } from "./chart.js";
import { offerStyles, offerZone, showStyle } from "./chart_choices.js";
import { STREAM, listen, refusal } from "./connection.js";
import { learnVerdicts, showCoverage } from "./coverage.js";
import { showDepth } from "./depth.js";
import { NONE, bps, clock, decimalsOf, decimalsOfNumber, elapsed, moment, number, signed, words } from "./format.js";
import { Notices } from "./notices.js";
import { isOpen, takeOverview } from "./overview.js";
import { Past, address } from "./past.js";
import { readView, writeView } from "./ranges.js";
import { areMany, chosen, keyOf, severalVenues, showSymbols, summarise } from "./symbols.js";
import { clearBook, clearExpected, learnEstimators, showBook, showExpected, showGaps, showNumbers, showProblems, spreadText } from "./tables.js";
import { isTrusted, learn, skew, verdict } from "./trust.js";
import { Voice } from "./voice.js";

const POLL = 2000; // milliseconds between looks at the other symbols
const POLL_OF_OVERVIEW = 1000;
const POLL_HIDDEN = 30_000;
const LOOK = 5_000; // milliseconds between looks at the verdicts on the hours and the depth of the whole book
const TICK = 250; // milliseconds between looks at the age of what is shown
const NAMED = 0.5; // seconds for which the title of the tab stays
const HIDDEN_TICK = 1; // seconds between them while the tab is in the background
const FLASH = 450;
const LIVE = 1; // second for which what the tickers say stands before an older price of the record
const MOST_GAPS = 100;
const RECENT = 15; // minutes that the gateway has in its memory
const OLD = 120_000; // milliseconds after which the bars behind a view that follows the newest price are asked for again

const byId = (id) => document.getElementById(id);
const chart = new Chart(byId("chart"), () => lookElsewhere());
const past = new Past({
  take: (answer) => {
    chart.loadBars(answer);
    redraw();
  },
  tell: (sentence) => tellOfPast(sentence),
});
const notices = new Notices(() => ({ key: shown.key, name: shown.symbol }));
const voice = new Voice();
const decimals = new Map(); // key -> { price, size }

let quotes = [];
let problems = {}; // of the pipeline, by the name of its part
let learnt = false;
let shown = blank({ venue: "", symbol: "" });
let drawing = false;
let watchedAt = -Infinity;
let named = {}; // what the title of the tab was made of

function blank({ venue, symbol }) {
  return { venue, symbol, key: keyOf({ venue, symbol }), connection: "opening", losses: 0, price: null, book: null, feed: null, gaps: [], newGaps: [], receivedAt: null, liveAt: null, bookTime: 0, good: null, isNew: false, known: new Set(), end: () => {} };
}

function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

// Which update of the exchange a part of the page shows.
function mark(id, event) {
  if (event) byId(id).dataset.updateId = event.update_id;
  else delete byId(id).dataset.updateId;
}

const now = () => performance.now() / 1000;
const places = () => decimals.get(shown.key) ?? { price: 2, size: 4 };

// ---- what comes in

function show(wish) {
  if (!wish?.symbol || keyOf(wish) === shown.key) return;
  shown.end();
  const mine = (shown = blank(wish));
  chart.clear();
  past.forget();
  clearBook();
  showCoverage(null);
  showDepth(null);
  showView();
  const wishes = { symbols: mine.key.replace("/", ":"), moments: 1, live: 1 };
  shown.end = listen(wishes, {
    onOpen: () => {
      mine.connection = "open";
      mine.losses = 0;
      loadHistory(mine);
      askPast();
      look();
      redraw();
    },
    onLost: async () => {
      mine.connection = "lost";
      mine.losses += 1;
      redraw();
      const reason = mine.losses === 2 ? await refusal(wishes) : "";
      if (reason && mine === shown && mine.connection === "lost") problems = { gateway: reason };
    },
    onFrame: (frame) => {
      if (frame.type === "health") problems = frame.problems;
      else if (frame.symbol === mine.symbol && (!mine.venue || frame.venue === mine.venue)) take[frame.type]?.(mine, frame);
      if (frame.type !== "price") redraw(); // of which a moment or a live one tells as well
    },
  });
  redraw();
}

const take = {
  // Every price there is: what the line of the chart goes through, and a sign of life.
  price(mine, price) {
    mine.receivedAt = now();
    chart.add(price);
  },
  // A price of the record and the book that it was made of.
  moment(mine, { price, book }) {
    const isNewRun = price.event_time < mine.bookTime;
    if (isNewRun) beginAnew(mine);
    mine.bookTime = price.event_time;
    if (isNewRun || !isLive(mine) || price.update_id >= mine.price.update_id) showMoment(mine, price, book);
  },
  // What the exchange told between two books: price and levels under the id of the best bid and ask.
  live(mine, { bids, asks, ticker_id, ...price }) {
    if (mine.price && ticker_id <= mine.price.update_id) return; // the record is as new
    mine.liveAt = now();
    showMoment(mine, { ...price, update_id: ticker_id, isLive: true }, { update_id: ticker_id, bids, asks });
  },
  feed(mine, feed) {
    if (feed.gaps < mine.feed?.gaps) loadHistory(mine); // another crawler has filled one
    mine.feed = feed;
    if (feed.age_seconds !== null) mine.receivedAt = now() - feed.age_seconds;
    if (feed.last_good_price !== null) mine.good = { price: feed.last_good_price, at: now() - feed.last_good_age_seconds };
  },
  gap(mine, gap) {
    mine.gaps = [...mine.gaps, gap].slice(-MOST_GAPS);
    mine.newGaps.push(gap);
    chart.addGap(gap);
  },
};

// All that is shown is of one moment: of the newest, by the exchange's ids.
function showMoment(mine, price, book) {
  flash(mine.price?.price, price.price, places().price);
  mine.price = price;
  mine.book = book;
  mine.isNew = true;
  mine.receivedAt ??= now();
  if (isTrusted(price) && mine.feed?.state !== "disputed") mine.good = { price: price.price, at: now() };
  const levels = book ? [...book.bids, ...book.asks] : [];
  learnPlaces(
    mine.key,
    [decimalsOfNumber(price.bid), decimalsOfNumber(price.ask), decimalsOf(levels.map(([each]) => each))],
    [decimalsOfNumber(price.bid_size), decimalsOfNumber(price.ask_size), decimalsOf(levels.map(([, size]) => size))],
  );
}

const isLive = (mine) => mine.liveAt !== null && Boolean(mine.price?.isLive) && now() - mine.liveAt <= LIVE;

// A symbol's tick and lot are as fine as the finest number seen of it.
function learnPlaces(key, prices, sizes) {
  const before = decimals.get(key) ?? { price: 0, size: 0 };
  decimals.set(key, { price: Math.max(before.price, ...prices), size: Math.max(before.size, ...sizes) });
}

// The gateway sends an older price only when a recording or a simulator has been started again.
function beginAnew(mine) {
  mine.gaps = [];
  chart.clear();
  loadHistory(mine);
  askPast();
}

async function fetchJson(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000) });
  return answer.ok ? answer.json() : null;
}

async function loadHistory(mine) {
  if (!mine.symbol) return;
  const minutes = Math.min(RECENT, Math.ceil(chart.span / 60_000));
  mine.newGaps = []; // what comes while the answer is on its way is not in it
  const history = await fetchJson(`api/history/${path(mine)}?minutes=${minutes}`).catch(() => null);
  if (!history || mine !== shown) return;
  const isKnown = (gap) => history.gaps.some((each) => each.from_update_id === gap.from_update_id && each.to_update_id === gap.to_update_id);
  mine.gaps = [...history.gaps, ...mine.newGaps.filter((gap) => !isKnown(gap))].slice(-MOST_GAPS);
  chart.loadRecent({ ...history, gaps: mine.gaps });
}

// What the gateway's memory does not have comes from the store, with some room on both sides of the view.
let askedAt = 0;
function askPast() {
  if (!shown.symbol) return;
  askedAt = now();
  const { span, end } = chart;
  past.ask(shown.key, span * 1.5, end === null ? null : Math.min(end + span / 4, chart.latest() || end));
}

let problemOfAddress = "";
function tellOfPast(sentence) {
  const text = [problemOfAddress, sentence].filter(Boolean).join("; ");
  write("chart-note", text);
  byId("chart-note").hidden = !text;
}

// What changes slowly is asked for now and then.
async function look() {
  const mine = shown;
  if (!mine.symbol || mine.connection !== "open") return;
  const [coverage, depth] = await Promise.all(["coverage", "depth"].map((name) => fetchJson(`api/${name}/${path(mine)}`).catch(() => null)));
  if (mine !== shown) return;
  showCoverage(coverage);
  showDepth(depth);
  if (depth) chart.addDepth(depth);
}

const path = ({ key }) => key.split("/").map(encodeURIComponent).join("/");

// The venues of a symbol beside each other, symbols in the order in which the gateway saw them.
function together(prices) {
  const seen = [...new Set(prices.map(({ symbol }) => symbol))];
  const place = new Map(seen.map((symbol, index) => [symbol, index]));
  return prices.sort((one, other) => place.get(one.symbol) - place.get(other.symbol) || (one.venue < other.venue ? -1 : 1));
}

let nextPoll = 0;
async function poll() {
  clearTimeout(nextPoll);
  const answer = await fetchJson("api/overview").catch(() => null);
  quotes = answer ? together(answer.symbols) : quotes.map((quote) => ({ ...quote, state: "lost" }));
  takeOverview(quotes, answer ? answer.note : "the gateway does not answer");
  summarise(quotes, now());
  show(chosen(quotes));
  redraw();
  clearTimeout(nextPoll);
  nextPoll = setTimeout(poll, document.hidden ? POLL_HIDDEN : isOpen() ? POLL_OF_OVERVIEW : POLL);
  if (!learnt) await learnMeanings();
}

async function learnMeanings() {
  const about = await fetchJson("api").catch(() => null);
  if (!about) return;
  learn(about.statuses);
  learnVerdicts(about.verdicts);
  learnEstimators(about.estimators);
  learnt = true;
  redraw();
}

// ---- what is drawn

// At most once a frame, of which a tab in the background gets none: it has a title all the same, and may notify.
function redraw() {
  if (document.hidden) return watchHidden();
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function watchHidden() {
  if (now() - watchedAt < HIDDEN_TICK) return;
  watchedAt = now();
  watch(judge());
}

function judge() {
  const age = shown.receivedAt === null ? null : now() - shown.receivedAt;
  const judged = verdict({ connection: shown.connection, price: shown.price, feed: shown.feed, age });
  return { ...judged, age, isAlarm: Boolean(judged.alarm) && (shown.price !== null || judged.state === "lost") };
}

// What is seen and heard without looking at the page.
function watch({ state, pill, alarm, isAlarm }) {
  const price = number(shown.price?.price ?? null, places().price);
  nameTab(isAlarm ? `⚠ ${pill}` : shown.price && price, isAlarm);
  notices.look({ key: shown.key, name: shown.symbol }, shown.price?.price ?? null, price, isAlarm ? alarm : null);
  const spoken = voice.next(`${shown.symbol || "Fairprice"}: ${alarm ?? pill}`, state === "live" ? price : "", now());
  if (spoken) write("spoken", spoken);
}

// A price no oftener than a tab bar can be read.
function nameTab(text, isAlarm) {
  if (named.key === shown.key && named.isAlarm === isAlarm && now() - named.at < NAMED) return;
  named = { key: shown.key, isAlarm, at: now() };
  document.title = title(text);
}

function draw() {
  const judged = judge();
  const { age } = judged;
  document.body.dataset.state = judged.state;
  drawFeed(judged, age);
  drawSymbols();
  drawProblems();
  drawBasis();
  byId("empty").hidden = shown.price !== null || judged.state === "lost" || !chart.isEmpty;
  if (chart.end === null && (now() - askedAt) * 1000 > Math.min(5 * OLD, Math.max(OLD, chart.span / 1000))) askPast();
  byId("api-link").href = `api/prices/${path(shown)}`;
  write("api-link", `/api/prices/${shown.key}`);
  write("empty-words", shown.symbol && judged.alarm ? `${shown.symbol}: ${judged.alarm}` : `Waiting for the first price of ${shown.symbol || "a symbol"}`);
  drawPrice(judged, age);
  watch(judged);
  if (isOpen()) return; // nothing else is seen
  if (shown.price) drawValues(shown.price);
  else clearValues();
  if (shown.isNew) drawMoment();
  chart.draw();
}

function drawMoment() {
  shown.isNew = false;
  if (shown.book) showBook(shown.book, places().price, places().size);
  else clearBook();
  chart.show(shown.price);
}

function drawFeed(judged, age) {
  write("feed-words", judged.pill);
  write("feed-age", age === null ? "" : elapsed(age));
  const feed = shown.feed;
  // the newest may be older than the minutes that were asked for
  showGaps(shown.gaps.length || !feed?.last_gap ? shown.gaps : [feed.last_gap], feed?.gaps);
  const last = feed?.last_gap ? `, last ${clock(feed.last_gap.to_time)}` : "";
  write("feed-gaps", feed ? `${feed.gaps} ${feed.gaps === 1 ? "gap" : "gaps"}${last}` : "");
}

let listed = { quotes: null, key: "" };
function drawSymbols() {
  if (areMany(quotes) && listed.quotes === quotes && listed.key === shown.key) return; // a list shows no prices
  listed = { quotes, key: shown.key };
  const known = quotes.map((quote) => ({ ...quote, text: number(quote.price, decimals.get(keyOf(quote))?.price ?? guess(quote.price)) }));
  if (shown.symbol && !known.some((each) => keyOf(each) === shown.key)) known.push({ ...shown, text: "", state: "waiting" });
  for (const each of known) {
    if (keyOf(each) === shown.key && shown.price) {
      each.text = number(shown.price.price, places().price);
      each.state = document.body.dataset.state;
    }
  }
  showSymbols(known, shown.key);
  const named = severalVenues(known);
  write("venue", named ? shown.venue : "");
  byId("venue").hidden = !named;
}

function drawProblems() {
  const list = Object.entries(problems).map(([name, text]) => `${words(name)}: ${text}`);
  const ofSymbol = [shown.feed?.problem, skew(shown.price)].filter(Boolean).map((text) => `${shown.symbol}: ${text}`);
  showProblems([...list, ...ofSymbol]);
}

// Against the same symbol at other venues; the gateway says which one is the reference.
function drawBasis() {
  const pairs = quotes.filter((quote) => quote.symbol === shown.symbol && quote.basis_against && [quote.venue, quote.basis_against].includes(shown.venue));
  byId("basis-row").hidden = !pairs.length;
  byId("basis-row").classList.toggle("beyond", pairs.some((quote) => quote.basis_beyond));
  const lines = pairs.map(({ venue, basis_bps: value, basis_against: reference, basis_beyond: isBeyond }) => [
    signed(value, 2) + (value === null ? "" : " bps"), `${venue} over ${reference}${isBeyond ? ", too far: one of them is wrong" : ""}`,
  ]);
  write("basis", lines[0]?.[0] ?? NONE);
  write("basis-note", [lines[0]?.[1], ...lines.slice(1).map(([value, pair]) => `${value} ${pair}`)].filter(Boolean).join(" · "));
}

const guess = (price) => (price >= 100 ? 2 : price >= 1 ? 4 : 6);

function drawPrice(judged, age) {
  const alarmed = judged.isAlarm;
  const price = alarmed ? shown.good?.price : shown.price?.price;
  const digits = places().price;
  const text = number(price, digits + 1);
  write("symbol", shown.symbol || NONE);
  write("price-main", price === null || price === undefined ? NONE : text.slice(0, -1));
  write("price-fine", price === null || price === undefined ? "" : text.slice(-1));
  write("alarm", alarmed ? judged.state === "stale" ? `No new price for ${elapsed(age)}` : judged.alarm : "");
  byId("alarm").hidden = !alarmed;
  mark("price", alarmed ? null : shown.price);
  write("price-note", alarmed ? lastGood() : shown.price ? `${words(shown.price.estimator)} · ${words(shown.price.status)}${shown.price.isLive ? " · live" : ""}` : "");
}

const lastGood = () => (shown.good ? `last good price, ${elapsed(now() - shown.good.at)} old` : "there was no good price yet");
const title = (text) => [[text, shown.symbol, severalVenues(quotes) && shown.venue].filter(Boolean).join(" "), "Fairprice"].filter(Boolean).join(" · ");

function drawValues(price) {
  const digits = places();
  chart.decimals = digits.price;
  write("bid", number(price.bid, digits.price));
  write("ask", number(price.ask, digits.price));
  write("bid-size", number(price.bid_size, digits.size));
  write("ask-size", number(price.ask_size, digits.size));
  write("spread", number(price.spread, digits.price));
  write("spread-bps", `${bps(price.spread_bps)}${price.spread_bps === null ? "" : " bps"}`);
  write("ladder-price", number(price.price, digits.price + 1));
  write("ladder-spread", `spread ${spreadText(price, digits.price)}`);
  drawImbalance(price.imbalance);
  showNumbers(price, digits.price, shown.known);
  showExpected(price, digits.price, shown.feed?.model_time);
  mark("estimates", price);
  write("estimator", price.estimator);
  write("update-id", number(price.update_id, 0));
  write("latency", price.priced_time === null ? "replay" : `${number((price.priced_time - (price.isLive ? price.received_time : price.event_time)) / 1000, 1)} ms`);
  write("event-time", moment(price.event_time));
}

function clearValues() {
  for (const id of ["bid", "ask", "bid-size", "ask-size", "spread", "spread-bps", "ladder-price", "estimator", "update-id", "latency"]) write(id, NONE);
  for (const id of ["event-time", "ladder-spread"]) write(id, "");
  for (const id of ["estimates", "bands", "impacts"]) byId(id).replaceChildren();
  clearExpected();
  mark("estimates", null);
  drawImbalance(null);
}

function drawImbalance(value) {
  write("imbalance", signed(value, 2));
  const bar = byId("balance-bar");
  bar.style.left = `${50 + Math.min(0, value ?? 0) * 50}%`;
  bar.style.width = `${Math.abs(value ?? 0) * 50}%`;
  bar.className = (value ?? 0) < 0 ? "ask" : "bid";
  byId("balance").setAttribute("aria-valuenow", (value ?? 0).toFixed(2));
}

let calm = 0;
function flash(before, after, digits) {
  // What moves less than a tick, with every change of a size, would make the screen flicker all day.
  if (typeof before !== "number" || typeof after !== "number" || before.toFixed(digits) === after.toFixed(digits)) return;
  byId("price").dataset.tick = after > before ? "up" : "down";
  write("price-arrow", after > before ? "▲" : "▼");
  clearTimeout(calm);
  calm = setTimeout(() => delete byId("price").dataset.tick, FLASH);
}

// ---- what the reader does

const minutesOf = (button) => Number(button.dataset.minutes) * 60_000;
for (const button of byId("ranges").children) button.addEventListener("click", () => chart.choose(minutesOf(button), null));

// The reader has another range or another time before him.
function lookElsewhere() {
  problemOfAddress = "";
  writeView(chart);
  showView();
  redraw();
  if (chart.end === null) loadHistory(shown);
  askPast();
}

function showView() {
  for (const button of byId("ranges").children) button.setAttribute("aria-pressed", String(minutesOf(button) === chart.span && chart.end === null));
  showStyle(chart.style);
  byId("download").hidden = !shown.symbol;
  byId("download").href = address(shown.key, chart.span, chart.end, "&format=csv");
}

// What the address asks for, when the page is opened and when somebody writes into it.
function followAddress() {
  const { span, end, style, problem } = readView();
  problemOfAddress = problem;
  tellOfPast("");
  if (style !== chart.style) {
    chart.style = style;
    chart.redraw();
  }
  if (span !== chart.span || end !== chart.end) {
    [chart.span, chart.end] = [span, end];
    chart.redraw();
    loadHistory(shown);
    askPast();
  }
  const wish = chosen(quotes);
  if (wish?.venue || quotes.length) show(wish); // without a venue the gateway has to say first which ones there are
  showView();
}

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  chart.redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());
offerStyles((style) => chart.setStyle(style));
offerZone(() => {
  chart.redraw();
  look();
  redraw();
});
byId("about-open").addEventListener("click", () => byId("about").showModal());
addEventListener("hashchange", followAddress);

write("ws-address", `${STREAM}?symbols=BTCUSDT`);
clearBook();
followAddress();
poll();
addEventListener("overview", poll);
document.addEventListener("visibilitychange", () => document.hidden || poll());
setInterval(look, LOOK);
// The age ticks, and a price grows stale, without anything coming in.
setInterval(redraw, TICK);
document.addEventListener("visibilitychange", redraw);
