// The buttons that change the time shown in all charts over time, for the keyboard and for touch.
// bar: the toolbar of zoom.html.j2. plots(): the uPlot charts. whole(): first and last time that can be shown (seconds).
// reset(): shows all of it. text(at): a time as it is shown. Returns a function that makes the toolbar say what is shown.
function zoomButtons(bar, plots, whole, reset, text) {
  "use strict";
  const shown = () => {
    const [first, last] = whole(), { min, max } = plots()[0].scales.x;
    return [Math.max(first, min ?? first), Math.min(last, max ?? last)];
  };
  const show = (from, to) => {
    const [first, last] = whole(), length = to - from;
    if (length >= (last - first) * 0.999) return reset();
    const start = Math.min(Math.max(from, first), last - length);
    for (const plot of plots()) plot.setScale("x", { min: start, max: start + length });
  };
  const around = (factor) => {
    const [from, to] = shown(), [first, last] = whole(), middle = (from + to) / 2;
    const half = Math.max(factor * (to - from), (last - first) / 1000, 1) / 2;
    show(middle - half, middle + half);
  };
  const along = (part) => {
    const [from, to] = shown(), step = part * (to - from);
    show(from + step, to + step);
  };
  const actions = {
    "zoom in": () => around(0.5), "zoom out": () => around(2), earlier: () => along(-0.5), later: () => along(0.5),
    "the whole run": reset,
  };
  const say = () => {
    if (!plots().length) return;
    const [from, to] = shown(), [first, last] = whole(), part = (to - from) < (last - first) * 0.999;
    const said = part ? `${text(from)} to ${text(to)}` : "";
    const output = bar.querySelector("output");
    if (output.textContent !== said) output.textContent = said;
    bar.classList.toggle("part", part);
  };
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (!button || !plots().length) return;
    actions[button.dataset.zoom]();
    // uPlot sets its scales in a microtask.
    setTimeout(say);
  });
  return say;
}
