// Distributions and the map of the scores.

// Where the interesting part of a metric lies: efficiencies end at 1, errors may have no end.
function scoreRange(metric, values) {
  const sorted = ascending(values), about = DATA.metrics[metric];
  if (!sorted.length) return [0, 1];
  let low = quantile(sorted, 0.02), high = quantile(sorted, 0.98);
  if (about.best === "max" && about.perfect !== null) {
    high = about.perfect;
    low = Math.min(Math.max(low, high - 2), sorted[0] >= 0 && about.bounds[0] === 0 ? 0 : low, high - 0.2);
    low = Math.max(low, high - 2);
  } else if (about.best === "min") low = Math.min(about.perfect ?? low, low);
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  return [low, high];
}

function curves() {
  const all = DATA.sites.id.map(() => true), held = DATA.sites.holdout;
  const of = DATA.samples.length ? "groups" : "sites", groups = [[`all ${of}`, all]];
  if (held && held.some(Boolean) && !held.every(Boolean))
    groups.push([`trained ${of}`, held.map((h) => !h)], [`held-out ${of}`, held.map(Boolean)]);
  const found = [];
  for (const [name, mask] of groups)
    found.push({ name, mask, values: scoresOf(VIEW.static)[VIEW.metric], dashed: false });
  for (const other of statics().filter((s) => s !== VIEW.static))
    found.push({ name: `all ${of}, static ${other}`, mask: all, values: scoresOf(other)[VIEW.metric], dashed: true });
  return found.map((c, i) => ({ ...c, color: c.dashed ? "#777" : COLORS[i], values: ascending(c.values.filter((_, k) => c.mask[k])) }));
}

function drawCdf(container) {
  const lines = curves(), box = frame(container, 330, undefined, `Distribution of ${VIEW.metric} over sites`);
  const x = linear(scoreRange(VIEW.metric, lines.flatMap((c) => c.values)), box.x), y = linear([0, 1], box.y);
  axes(box, x, y, { xLabel: metricLabel(VIEW.metric), yLabel: `share of ${DATA.samples.length ? "groups" : "sites"} with a smaller value` });
  const id = `clip-${container.id}`, clip = svg("clipPath", { id }, svg("defs", {}, box.root));
  svg("rect", { x: box.x[0], y: box.y[1] - 2, width: box.x[1] - box.x[0], height: box.y[0] - box.y[1] + 4 }, clip);
  const group = svg("g", { "clip-path": `url(#${id})` }, box.root);
  const legend = html("div", { class: "legend" }, container);
  for (const c of lines) {
    const n = c.values.length;
    const points = c.values.map((v, i) => `${x(v).toFixed(1)},${y((i + 1) / n).toFixed(1)}`);
    if (n) svg("path", { d: `M${x(c.values[0]).toFixed(1)},${y(0)}L${points.join("L")}L${box.x[1]},${y(1)}`, class: "curve", stroke: c.color, "stroke-dasharray": c.dashed ? "4 3" : "none" }, group);
    const entry = html("span", {}, legend);
    html("i", { style: `background:${c.color}` }, entry);
    entry.append(`${c.name}: median ${score(quantile(c.values, 0.5))} (n = ${n})`);
  }
  const rule = svg("line", { y1: box.y[0], y2: box.y[1], class: "rule", visibility: "hidden" }, box.root);
  const below = (sorted, v) => sorted.filter((s) => s <= v).length / (sorted.length || 1);
  box.root.addEventListener("pointermove", (event) => {
    const at = Math.min(Math.max(event.offsetX, box.x[0]), box.x[1]), value = x.invert(at);
    fill(rule, { x1: at, x2: at, visibility: "visible" });
    showTooltip(event, [`${VIEW.metric} ≤ ${number(value)}`, ...lines.map((c) => `${(100 * below(c.values, value)).toFixed(0)} % of ${c.name}`)]);
  });
  box.root.addEventListener("pointerleave", () => (rule.setAttribute("visibility", "hidden"), hideTooltip()));
}

// Anchors of the colour maps viridis, and of blue to red through white, for values whose best is zero.
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]];
const DIVERGING = [[33, 102, 172], [103, 169, 207], [209, 229, 240], [247, 247, 247], [253, 219, 199], [239, 138, 98], [178, 24, 43]];

function color(map, share) {
  const at = Math.min(Math.max(share, 0), 1) * (map.length - 1), low = Math.min(Math.floor(at), map.length - 2);
  return `rgb(${map[low].map((v, i) => Math.round(v + (at - low) * (map[low + 1][i] - v))).join(",")})`;
}

function colors(metric, values) {
  const about = DATA.metrics[metric], sorted = ascending(values);
  if (about.best === "zero") {
    const size = quantile(ascending(values.map((v) => (v === null ? null : Math.abs(v)))), 0.95) || 1;
    return { map: DIVERGING, low: -size, high: size };
  }
  if (about.best === "max" && about.perfect === 1) return { map: VIRIDIS, low: 0, high: 1 };
  const map = about.best === "min" ? [...VIRIDIS].reverse() : VIRIDIS;
  return { map, low: quantile(sorted, 0.05) ?? 0, high: quantile(sorted, 0.95) ?? 1 };
}

function drawMap(container) {
  const { lat, lon, id } = DATA.sites, values = scoresOf(VIEW.static)[VIEW.metric];
  const known = id.map((_, i) => i).filter((i) => Number.isFinite(lat[i]) && Number.isFinite(lon[i]) && lat[i] !== null);
  const box = frame(container, 372, { top: 10, right: 14, bottom: 82, left: 54 }, `Map of ${VIEW.metric}`);
  const span = (list, floor) => {
    const low = Math.min(...list), high = Math.max(...list), pad = Math.max(0.06 * (high - low), floor);
    return [low - pad, high + pad];
  };
  let [west, east] = span(known.map((i) => lon[i]), 0.3), [south, north] = span(known.map((i) => lat[i]), 0.3);
  // One degree of longitude is shorter than one of latitude; the map keeps true proportions.
  const shrink = Math.cos((((south + north) / 2) * Math.PI) / 180);
  const room = (box.x[1] - box.x[0]) / (box.y[0] - box.y[1]), has = ((east - west) * shrink) / (north - south);
  if (has < room) [west, east] = grow(west, east, room / has);
  else [south, north] = grow(south, north, has / room);
  const x = linear([west, east], box.x), y = linear([south, north], box.y);
  axes(box, x, y, { xLabel: "longitude (°)", yLabel: "latitude (°)" });
  const { map, low, high } = colors(VIEW.metric, values);
  const radius = known.length > 300 ? 3.2 : known.length > 80 ? 4.2 : 5.2;
  const order = known.filter((i) => values[i] === null).concat(known.filter((i) => values[i] !== null).sort((a, b) => values[b] - values[a]));
  for (const i of order) {
    const style = values[i] === null ? "none" : color(map, (values[i] - low) / (high - low || 1));
    const dot = svg("circle", { cx: x(lon[i]), cy: y(lat[i]), r: radius, fill: style, class: "site", "data-site": i }, box.root);
    const held = DATA.sites.holdout && DATA.sites.holdout[i] ? ", held out" : "";
    dot.addEventListener("pointermove", (event) => showTooltip(event, [`site ${id[i]}${held}`, `${VIEW.metric} ${number(values[i])}`, hasSeries(i) ? "click for its hydrograph" : "its series is in simulation.nc"]));
    dot.addEventListener("pointerleave", hideTooltip);
    dot.addEventListener("click", () => selectSite(i));
  }
  const bar = { left: box.x[0] + 0.2 * (box.x[1] - box.x[0]), width: 0.6 * (box.x[1] - box.x[0]), top: box.height - 30 };
  const gradient = svg("linearGradient", { id: "scores" }, svg("defs", {}, box.root));
  map.forEach((c, k) => svg("stop", { offset: k / (map.length - 1), "stop-color": `rgb(${c})` }, gradient));
  svg("rect", { x: bar.left, y: bar.top, width: bar.width, height: 9, fill: "url(#scores)" }, box.root);
  for (const share of [0, 0.5, 1])
    svg("text", { x: bar.left + share * bar.width, y: bar.top + 22, "text-anchor": "middle" }, box.root, number(low + share * (high - low), 2));
  svg("text", { x: bar.left - 8, y: bar.top + 8, "text-anchor": "end", class: "label" }, box.root, VIEW.metric);
  markSite();
}

function grow(a, b, factor) {
  const middle = (a + b) / 2, half = ((b - a) / 2) * factor;
  return [middle - half, middle + half];
}

function markSite() {
  for (const dot of document.querySelectorAll("circle.site")) dot.classList.toggle("chosen", Number(dot.dataset.site) === VIEW.site);
}
