// A small line of what a symbol cost, equally far apart in time; it breaks where nothing is known.

const [WIDTH, HEIGHT] = [96, 20];

const drawn = new WeakMap(); // svg -> the points of which it was drawn

// `points` are prices or null; the price of the moment when they came follows them.
export function drawLine(svg, points, price) {
  if (drawn.get(svg) === points) return;
  drawn.set(svg, points);
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
