// Small parts that every chart is made of: elements, scales, axes, a tooltip.
const SVG = "http://www.w3.org/2000/svg";
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

function html(tag, attributes = {}, parent = null, text = null) {
  return fill(document.createElement(tag), attributes, parent, text);
}

function svg(tag, attributes = {}, parent = null, text = null) {
  return fill(document.createElementNS(SVG, tag), attributes, parent, text);
}

function fill(element, attributes, parent, text) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function linear([a, b], [low, high]) {
  const scale = (value) => low + ((value - a) / (b - a || 1)) * (high - low);
  scale.invert = (at) => a + ((at - low) / (high - low || 1)) * (b - a);
  scale.domain = [a, b];
  return scale;
}

function logarithmic([a, b], range) {
  const inner = linear([Math.log10(a), Math.log10(b)], range);
  const scale = (value) => inner(Math.log10(Math.max(value, a)));
  scale.invert = (at) => 10 ** inner.invert(at);
  scale.domain = [a, b];
  return scale;
}

// Round values within a domain, about `count` of them.
function ticks([a, b], count = 5) {
  const raw = (b - a) / count, size = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw * 0.999) || size;
  const found = [];
  for (let k = Math.ceil(a / step - 1e-9); k * step <= b + step * 1e-9; k++) found.push(k * step);
  return found;
}

function logTicks([a, b]) {
  const found = [];
  for (let e = Math.ceil(Math.log10(a) - 1e-9); e <= Math.log10(b) + 1e-9; e++) found.push(10 ** e);
  return found.length > 1 ? found : [a, b];
}

const DAY = 864e5;

// First instants of years, months, days or hours within a domain of milliseconds, with their labels.
function timeTicks([a, b], count = 8) {
  const two = (n) => String(n).padStart(2, "0");
  const month = (d) => `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}`;
  const span = b - a, found = [];
  if (span / count > 0.8 * DAY * 28) {
    const months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600].find((m) => span / (m * 30.44 * DAY) <= count) || 1200;
    const first = new Date(a);
    for (let m = first.getUTCFullYear() * 12 + first.getUTCMonth(); ; m++) {
      const at = Date.UTC(Math.floor(m / 12), m % 12, 1);
      if (at > b) break;
      if (at >= a && m % months === 0) found.push([at, months >= 12 ? String(new Date(at).getUTCFullYear()) : month(new Date(at))]);
    }
    return found;
  }
  const hours = [1, 2, 3, 6, 12, 24, 48, 120, 168, 336].find((h) => span / (h * 36e5) <= count) || 336;
  for (let at = Math.ceil(a / (hours * 36e5)) * hours * 36e5; at <= b; at += hours * 36e5) {
    const d = new Date(at), day = `${month(d)}-${two(d.getUTCDate())}`;
    found.push([at, hours >= 24 || d.getUTCHours() === 0 ? day : `${two(d.getUTCHours())}:00`]);
  }
  return found;
}

function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  return String(Number(value.toPrecision(Math.max(digits, size >= 1 ? Math.floor(Math.log10(size)) + 1 : 1))));
}

// A score as tables have it: three digits after the point.
function score(value) {
  return Number.isFinite(value) && Math.abs(value) < 10 ? value.toFixed(3) : number(value);
}

// An empty drawing that fills its container, with room for axes.
function frame(container, height, margin = { top: 10, right: 14, bottom: 40, left: 54 }, label = "") {
  container.replaceChildren();
  const width = Math.max(container.clientWidth, 220);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, container);
  return {
    root, width, height, margin,
    x: [margin.left, width - margin.right],
    y: [height - margin.bottom, margin.top],
  };
}

// Axes with a faint grid; `labels` name them, `xTicks` may bring their own texts.
function axes(box, x, y, { xLabel = "", yLabel = "", xTicks = null, yTicks = null } = {}) {
  const group = svg("g", { class: "axes" }, box.root);
  const [left, right] = box.x, [bottom, top] = box.y;
  for (const tick of yTicks || ticks(y.domain, Math.max(2, (bottom - top) / 48))) {
    const at = y(tick);
    svg("line", { x1: left, x2: right, y1: at, y2: at, class: "grid" }, group);
    svg("text", { x: left - 7, y: at + 4, "text-anchor": "end" }, group, number(tick));
  }
  for (const [tick, text] of xTicks || ticks(x.domain, Math.max(2, (right - left) / 80)).map((t) => [t, number(t)])) {
    const at = x(tick);
    svg("line", { x1: at, x2: at, y1: bottom, y2: top, class: "grid" }, group);
    svg("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, group, text);
  }
  svg("path", { d: `M${left},${top}V${bottom}H${right}`, class: "frame" }, group);
  svg("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle", class: "label" }, group, xLabel);
  const turned = { transform: `translate(13,${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "label" };
  svg("text", turned, group, yLabel);
  return group;
}

const tooltip = html("div", { class: "tooltip", hidden: "" }, document.body);

function showTooltip(event, lines) {
  tooltip.replaceChildren(...lines.map((line) => html("div", {}, null, line)));
  tooltip.hidden = false;
  const { width, height } = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 6)}px`;
  tooltip.style.top = `${Math.max(event.clientY - height - 10, 6)}px`;
}

function hideTooltip() {
  tooltip.hidden = true;
}

function quantile(sorted, q) {
  if (!sorted.length) return NaN;
  const at = q * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

const finite = (values) => values.filter((v) => v !== null && Number.isFinite(v));
const ascending = (values) => finite(values).sort((a, b) => a - b);
