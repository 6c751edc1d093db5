// Distributions of the learned parameters, samples, and the course of the training.

function drawParameters(container) {
  container.replaceChildren();
  for (const parameter of DATA.parameters) {
    const cell = html("figure", {}, container);
    const unit = parameter.unit && !["1", "-"].includes(parameter.unit) ? ` (${parameter.unit})` : "";
    html("figcaption", { title: parameter.about || "" }, cell, parameter.name + unit);
    const place = html("div", {}, cell);
    if (VIEW.truth && parameter.truth) drawTruth(place, parameter);
    else drawHistogram(place, parameter);
  }
}

function drawHistogram(place, parameter) {
  const box = frame(place, 120, { top: 6, right: 10, bottom: 20, left: 10 }, `Distribution of ${parameter.name}`);
  const { low, high, values, truth } = parameter, bins = 24;
  const x = linear([low, high], box.x);
  const count = (list) => {
    const found = new Array(bins).fill(0);
    for (const v of finite(list)) found[Math.min(Math.max(Math.floor(((v - low) / (high - low)) * bins), 0), bins - 1)] += 1;
    return found;
  };
  const learned = count(values), known = truth ? count(truth) : [];
  const y = linear([0, Math.max(...learned, ...known, 1)], box.y), width = (box.x[1] - box.x[0]) / bins;
  learned.forEach((n, k) => n && svg("rect", { x: box.x[0] + k * width + 0.5, y: y(n), width: width - 1, height: box.y[0] - y(n), class: "bar" }, box.root));
  if (truth) svg("path", { d: known.map((n, k) => `${k ? "L" : "M"}${box.x[0] + k * width},${y(n)}H${box.x[0] + (k + 1) * width}`).join(""), class: "outline" }, box.root);
  svg("path", { d: `M${box.x[0]},${box.y[0]}H${box.x[1]}`, class: "frame" }, box.root);
  [low, (low + high) / 2, high].forEach((v, k) => svg("text", { x: x(v), y: box.height - 5, "text-anchor": ["start", "middle", "end"][k] }, box.root, number(v)));
  const own = values[VIEW.site];
  if (Number.isFinite(own) && own !== null) svg("path", { d: `M${x(own)},${box.y[0]}V${box.y[1]}`, class: "own" }, box.root);
}

function drawTruth(place, parameter) {
  const box = frame(place, 150, { top: 6, right: 10, bottom: 20, left: 40 }, `True and learned ${parameter.name}`);
  const both = finite([...parameter.values, ...parameter.truth]), domain = [Math.min(...both), Math.max(...both)];
  const x = linear(domain, box.x), y = linear(domain, box.y);
  axes(box, x, y, {});
  svg("path", { d: `M${x(domain[0])},${y(domain[0])}L${x(domain[1])},${y(domain[1])}`, class: "rule" }, box.root);
  parameter.values.forEach((v, i) => {
    const held = DATA.sites.holdout && DATA.sites.holdout[i], t = parameter.truth[i];
    if (v !== null && t !== null) svg("circle", { cx: x(t), cy: y(v), r: 2.2, fill: COLORS[held ? 1 : 0], "fill-opacity": 0.8 }, box.root);
  });
}

function drawSamples(place, { name, unit, n, observed, simulated }) {
  const box = frame(place, 400, undefined, `Simulated against observed ${name}`);
  const both = [...observed, ...simulated], domain = [Math.min(...both), Math.max(...both)];
  const x = linear(domain, box.x), y = linear(domain, box.y);
  axes(box, x, y, { xLabel: `observed ${name} (${unit})`, yLabel: `simulated ${name} (${unit})` });
  svg("path", { d: `M${x(domain[0])},${y(domain[0])}L${x(domain[1])},${y(domain[1])}`, class: "rule" }, box.root);
  const points = observed.map((o, i) => `M${x(o).toFixed(1)},${y(simulated[i]).toFixed(1)}h0`).join("");
  svg("path", { d: points, class: "points" }, box.root);
  html("p", { class: "note" }, place, `${n} samples${observed.length < n ? `, ${observed.length} of them drawn` : ""}`);
}

function drawTraining(container) {
  const { epochs, loss, validation } = DATA.training;
  const box = frame(container, 260, undefined, "Loss by epoch");
  const positive = loss.every((v) => v > 0), spread = Math.max(...loss) / Math.min(...loss);
  const x = linear([Math.min(epochs[0], 1), Math.max(...epochs, 2)], box.x);
  const range = [Math.min(...loss), Math.max(...loss)], pad = 0.05 * (range[1] - range[0]) || 0.1;
  const y = positive && spread > 20 ? logarithmic([range[0] * 0.9, range[1] * 1.1], box.y) : linear([range[0] - pad, range[1] + pad], box.y);
  const whole = ticks(x.domain, 8).filter(Number.isInteger).map((e) => [e, String(e)]);
  axes(box, x, y, { xTicks: whole, xLabel: "epoch", yLabel: "training loss", yTicks: spread > 20 && positive ? logTicks(y.domain) : null });
  svg("path", { d: epochs.map((e, i) => `${i ? "L" : "M"}${x(e)},${y(loss[i])}`).join(""), class: "curve", stroke: COLORS[0] }, box.root);
  epochs.forEach((e, i) => {
    const dot = svg("circle", { cx: x(e), cy: y(loss[i]), r: epochs.length > 60 ? 2 : 3, fill: COLORS[0] }, box.root);
    dot.addEventListener("pointermove", (event) => showTooltip(event, [`epoch ${e}`, `loss ${number(loss[i], 4)}`]));
    dot.addEventListener("pointerleave", hideTooltip);
  });
  if (!validation.length) return;
  const scores = validation.map((v) => v[1]), right = linear([Math.min(...scores, 0), 1], box.y);
  svg("path", { d: validation.map(([e, s], i) => `${i ? "L" : "M"}${x(e)},${right(s)}`).join(""), class: "curve", stroke: COLORS[1] }, box.root);
  const [epoch, best] = validation.reduce((a, b) => (b[1] > a[1] ? b : a));
  svg("circle", { cx: x(epoch), cy: right(best), r: 4, fill: COLORS[1] }, box.root);
  svg("text", { x: Math.min(x(epoch), box.x[1] - 60), y: right(best) + 16, "text-anchor": "middle", fill: COLORS[1] }, box.root, `validation NSE ${number(best)}`);
}
