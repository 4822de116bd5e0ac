// A plot of uPlot that draws nothing before its first data: else it would be drawn twice in the frame in which it is made.

// `begin()` has to be called in the batch that gives it data.
export function plotIn(element, options) {
  let start = () => {};
  const plot = new uPlot(options, options.series.map(() => []), (self, init) => {
    element.append(self.root);
    start = init;
  });
  plot.begin = () => {
    start();
    start = () => {};
  };
  return plot;
}
