// Simulated and observed series of one site: zoom with the wheel, move by dragging, choose a part below.

// Series travel as differences of signed square roots in 16 bits, so that low flow keeps its digits, deflated.
async function unpack(target, length) {
  const bytes = Uint8Array.from(atob(target.packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Int16Array(await new Response(stream).arrayBuffer());
  const rows = target.scale.map((scale, row) => {
    const values = new Float64Array(length);
    let code = 0;
    for (let t = 0; t < length; t++) {
      code = ((code + raw[row * length + t]) << 16) >> 16;
      const root = code / 32767;
      values[t] = code === -32768 ? NaN : Math.sign(root) * root * root * scale;
    }
    return values;
  });
  return target.sites.map((_, k) => ({ simulated: rows[2 * k], observed: rows[2 * k + 1] }));
}

const hasSeries = (site) => !!currentSeries() && currentSeries().sites.includes(site);
const currentSeries = () => DATA.series && DATA.series.targets.find((t) => t.name === VIEW.name);

class Hydrograph {
  constructor(container) {
    this.container = container;
    this.full = [DATA.series.start, DATA.series.start + (DATA.series.length - 1) * DATA.series.step];
    this.window = this.opening();
    this.log = false;
  }

  // Two years to begin with, or all of a shorter period.
  opening() {
    const [first, last] = this.full;
    return [Math.max(first, last - 2 * 365.25 * DAY), last];
  }

  show(series, unit) {
    Object.assign(this, { series, unit });
    this.draw();
  }

  limit([a, b]) {
    const [first, last] = this.full, span = Math.min(Math.max(b - a, 4 * DATA.series.step), last - first);
    a = Math.min(Math.max(a + (b - a - span) / 2, first), last - span);
    this.window = [a, a + span];
    this.draw();
  }

  indices([a, b]) {
    const { start, step, length } = DATA.series;
    return [Math.max(0, Math.floor((a - start) / step)), Math.min(length - 1, Math.ceil((b - start) / step))];
  }

  path(values, x, y, [from, to]) {
    const { start, step } = DATA.series, per = (to - from) / (x(this.at(to)) - x(this.at(from)) || 1);
    let d = "", pen = false;
    // Where a pixel has several values its lowest and highest are drawn: peaks survive any zoom.
    const stride = Math.max(1, Math.floor(per));
    for (let i = from; i <= to; i += stride) {
      let low = Infinity, high = -Infinity;
      for (let k = i; k < Math.min(i + stride, to + 1); k++)
        if (Number.isFinite(values[k])) (low = Math.min(low, values[k])), (high = Math.max(high, values[k]));
      if (high === -Infinity) { pen = false; continue; }
      const px = x(start + i * step).toFixed(1);
      d += `${pen ? "L" : "M"}${px},${y(low).toFixed(1)}`;
      if (high > low) d += `L${px},${y(high).toFixed(1)}`;
      pen = true;
    }
    return d;
  }

  at(i) {
    return DATA.series.start + i * DATA.series.step;
  }

  draw() {
    const { observed, simulated } = this.series, [from, to] = this.indices(this.window);
    const box = frame(this.container, 340, { top: 12, right: 14, bottom: 30, left: 58 }, "Hydrograph");
    let low = Infinity, high = -Infinity, positive = Infinity;
    for (const values of [observed, simulated])
      for (let i = from; i <= to; i++)
        if (Number.isFinite(values[i])) {
          low = Math.min(low, values[i]);
          high = Math.max(high, values[i]);
          if (values[i] > 0) positive = Math.min(positive, values[i]);
        }
    if (high === -Infinity) [low, high, positive] = [0, 1, 0.1];
    const x = linear(this.window, box.x), top = high + 0.06 * (high - Math.min(low, 0)) || 1;
    const floor = Math.max(Math.min(positive, high / 10), high * 1e-5);
    const y = this.log && high > 0 ? logarithmic([floor, top], box.y) : linear([Math.min(low, 0), top], box.y);
    axes(box, x, y, { yLabel: `${VIEW.name} (${this.unit})`, xTicks: timeTicks(this.window, (box.x[1] - box.x[0]) / 95), yTicks: y.domain === undefined || !this.log ? null : logTicks(y.domain) });
    const id = "clip-hydrograph", clip = svg("clipPath", { id }, svg("defs", {}, box.root));
    svg("rect", { x: box.x[0], y: 0, width: box.x[1] - box.x[0], height: box.y[0] + 1 }, clip);
    const group = svg("g", { "clip-path": `url(#${id})` }, box.root);
    svg("path", { d: this.path(observed, x, y, [from, to]), class: "curve observed" }, group);
    svg("path", { d: this.path(simulated, x, y, [from, to]), class: "curve simulated" }, group);
    this.rule = svg("line", { y1: box.y[0], y2: box.y[1], class: "rule", visibility: "hidden" }, box.root);
    this.listen(box, x);
    this.overview();
    const caption = document.getElementById("in-view");
    const day = (t) => new Date(t).toISOString().slice(0, DATA.series.step < DAY ? 16 : 10).replace("T", " ");
    caption.textContent = `${day(this.at(from))} to ${day(this.at(to))}: NSE of what is shown ${number(this.nse(from, to))}`;
  }

  nse(from, to) {
    const { observed: o, simulated: s } = this.series;
    let n = 0, sum = 0;
    for (let i = from; i <= to; i++) if (Number.isFinite(o[i] + s[i])) (n += 1), (sum += o[i]);
    let error = 0, spread = 0;
    for (let i = from; i <= to; i++) if (Number.isFinite(o[i] + s[i])) (error += (o[i] - s[i]) ** 2), (spread += (o[i] - sum / n) ** 2);
    return n > 1 && spread > 0 ? 1 - error / spread : NaN;
  }

  listen(box, x) {
    const root = box.root, { start, step, length } = DATA.series;
    root.classList.add("zoom");
    root.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [a, b] = this.window, at = x.invert(event.offsetX), factor = Math.exp(event.deltaY * 0.0015);
      this.limit([at - (at - a) * factor, at + (b - at) * factor]);
    }, { passive: false });
    root.addEventListener("dblclick", () => this.limit(this.full));
    root.addEventListener("pointerdown", (event) => {
      const from = event.clientX, [a, b] = this.window, perPixel = (b - a) / (box.x[1] - box.x[0]);
      drag((e) => this.limit([a - (e.clientX - from) * perPixel, b - (e.clientX - from) * perPixel]));
    });
    root.addEventListener("pointermove", (event) => {
      if (event.buttons) return hideTooltip();
      const i = Math.round((x.invert(event.offsetX) - start) / step);
      if (i < 0 || i >= length) return hideTooltip();
      fill(this.rule, { x1: x(this.at(i)), x2: x(this.at(i)), visibility: "visible" });
      const time = new Date(this.at(i)).toISOString().slice(0, step < DAY ? 16 : 10).replace("T", " ");
      showTooltip(event, [time, `observed ${number(this.series.observed[i])}`, `simulated ${number(this.series.simulated[i])} ${this.unit}`]);
    });
    root.addEventListener("pointerleave", () => (this.rule.setAttribute("visibility", "hidden"), hideTooltip()));
  }

  // The whole period in small; dragging there chooses the part that is shown.
  overview() {
    const box = frame(document.getElementById("overview"), 62, { top: 4, right: 14, bottom: 18, left: 58 }, "Whole period");
    const { observed, simulated } = this.series, x = linear(this.full, box.x), all = [0, DATA.series.length - 1];
    let high = 0;
    for (const values of [observed, simulated]) for (const v of values) if (v > high) high = v;
    const y = linear([0, high || 1], box.y);
    for (const [at, text] of timeTicks(this.full, (box.x[1] - box.x[0]) / 95)) svg("text", { x: x(at), y: box.height - 4, "text-anchor": "middle" }, box.root, text);
    svg("path", { d: this.path(observed, x, y, all), class: "curve observed thin" }, box.root);
    svg("path", { d: this.path(simulated, x, y, all), class: "curve simulated thin" }, box.root);
    const [a, b] = this.window.map(x);
    svg("rect", { x: a, y: 2, width: Math.max(b - a, 2), height: box.height - 20, class: "window" }, box.root);
    box.root.addEventListener("pointerdown", (event) => {
      const left = box.root.getBoundingClientRect().left, from = event.clientX - left, inside = from >= a && from <= b;
      const [first, last] = this.window;
      drag((e) => {
        const to = e.clientX - left, moved = x.invert(to) - x.invert(from);
        if (inside) this.limit([first + moved, last + moved]);
        else this.limit([x.invert(Math.min(from, to)), x.invert(Math.max(from, to))]);
      });
    });
  }
}

function drag(move) {
  const stop = () => (removeEventListener("pointermove", move), removeEventListener("pointerup", stop));
  addEventListener("pointermove", move);
  addEventListener("pointerup", stop);
}
