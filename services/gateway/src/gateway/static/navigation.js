// Moves the view of the chart by mouse, touch and keyboard. It knows no chart: it is told where the plot is.

const STEP = 0.1; // of the view, for an arrow key
const ZOOM = 1.25;

// `plot()` returns { left, width } on the screen, `view()` { from, to } in milliseconds; `move(from, to)` is called with
// the new one, `home()` where the reader wants the newest again.
export function navigate(element, { plot, view, move, home }) {
  const fingers = new Map();

  const timeAt = (x) => {
    const [{ left, width }, { from, to }] = [plot(), view()];
    return from + ((x - left) / width) * (to - from);
  };
  const shift = (part) => {
    const { from, to } = view();
    move(from + part * (to - from), to + part * (to - from));
  };
  // Around a time, which stays where it is.
  const zoom = (factor, around) => {
    const { from, to } = view();
    move(around - (around - from) * factor, around + (to - around) * factor);
  };

  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) shift(event.deltaX / plot().width);
    else zoom(event.deltaY > 0 ? ZOOM : 1 / ZOOM, event.shiftKey ? timeAt(event.clientX) : edgeOr(timeAt(event.clientX)));
  }, { passive: false });

  // Near the newest price the right edge stays, so that the chart goes on to follow it.
  const edgeOr = (time) => (view().follows && time > view().from + 0.8 * (view().to - view().from) ? view().to : time);

  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event.clientX);
  });
  element.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    if (before.length === 1) shift((before[0] - after[0]) / plot().width);
    else pinch(before, after);
  });
  const lift = (event) => fingers.delete(event.pointerId);
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);

  function pinch(before, after) {
    const width = ([one, other]) => Math.max(20, Math.abs(one - other));
    zoom(width(before) / width(after), timeAt((after[0] + after[1]) / 2));
  }

  element.addEventListener("dblclick", home);
  element.addEventListener("keydown", (event) => {
    const middle = () => (view().from + view().to) / 2;
    const act = {
      ArrowLeft: () => shift(-STEP), ArrowRight: () => shift(STEP), PageUp: () => shift(-1), PageDown: () => shift(1),
      "+": () => zoom(1 / ZOOM, view().follows ? view().to : middle()), "-": () => zoom(ZOOM, view().follows ? view().to : middle()),
      End: home, Home: home,
    }[event.key === "=" ? "+" : event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
