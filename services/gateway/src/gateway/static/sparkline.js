// A small line of what a symbol cost, equally far apart in time; it breaks where nothing is known.

const [WIDTH, HEIGHT] = [96, 20];

const drawn = new WeakMap(); // svg -> what it was drawn of

// `points` are prices or null; the newest price follows them.
export function drawLine(svg, points, price) {
  const before = drawn.get(svg);
  if (before?.points === points && before.price === price) return;
  drawn.set(svg, { points, price });
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (!svg.firstChild) svg.append(document.createElementNS(svg.namespaceURI, "path"));
  svg.firstChild.setAttribute("d", pathOf(points.length ? [...points, price] : []));
}

function pathOf(points) {
  const known = points.filter((point) => point !== null);
  if (known.length < 2) return "";
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (index) => ((index / (points.length - 1)) * WIDTH).toFixed(1);
  const y = (point) => (high === low ? HEIGHT / 2 : HEIGHT - 1 - ((point - low) / (high - low)) * (HEIGHT - 2)).toFixed(1);
  return points.map((point, index) => (point === null ? "" : `${index && points[index - 1] !== null ? "L" : "M"}${x(index)} ${y(point)}`)).join("");
}
