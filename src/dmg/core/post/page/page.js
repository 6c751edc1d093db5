// What is shown, and the controls that change it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const VIEW = { metric: DATA.order[0], name: DATA.names[0], static: DATA.static, site: null, truth: false };
const place = (id) => document.getElementById(id);

const scoresOf = (convention) => DATA.scores[convention][VIEW.name];
const statics = () => Object.keys(DATA.scores);

function metricLabel(metric) {
  const { unit } = DATA.metrics[metric];
  return unit ? `${metric} (${unit === "target" ? DATA.units[VIEW.name] : unit})` : metric;
}

let hydrograph = null;
const unpacked = new Map();

async function selectSite(site) {
  if (!hasSeries(site)) return;
  VIEW.site = site;
  const target = currentSeries();
  if (!unpacked.has(target)) unpacked.set(target, unpack(target, DATA.series.length));
  const all = await unpacked.get(target);
  hydrograph ??= new Hydrograph(place("hydrograph"));
  hydrograph.show(all[target.sites.indexOf(site)], target.unit);
  place("site").value = String(site);
  markSite();
  if (DATA.parameters.length) drawParameters(place("parameters"));
}

// Sites from the best to the worst, best, median and worst first.
function listSites() {
  const choose = place("site"), nse = scoresOf(VIEW.static).nse ?? [];
  const ranked = [...currentSeries().sites].sort((a, b) => (nse[b] ?? -Infinity) - (nse[a] ?? -Infinity));
  const scored = ranked.filter((i) => nse[i] !== null);
  const words = new Map();
  if (scored.length) {
    words.set(scored[0], "best");
    words.set(scored[scored.length - 1], "worst");
    words.set(scored[Math.floor((scored.length - 1) / 2)], "median");
  }
  const entry = (i) => [i, `${words.has(i) ? `${words.get(i)}: ` : ""}site ${DATA.sites.id[i]}, NSE ${number(nse[i])}${DATA.sites.holdout?.[i] ? ", held out" : ""}`];
  const first = ["best", "median", "worst"].flatMap((w) => ranked.filter((i) => words.get(i) === w));
  choose.replaceChildren();
  for (const i of [...first, ...ranked.filter((i) => !words.has(i))]) html("option", { value: i }, choose, entry(i)[1]);
  return first[1] ?? ranked[0];
}

function drawScores() {
  if (!place("cdf")) return;
  drawCdf(place("cdf"));
  if (place("map")) drawMap(place("map"));
}

function draw() {
  drawScores();
  for (const cell of document.querySelectorAll("[data-sample]")) drawSamples(cell, DATA.samples[cell.dataset.sample]);
  if (DATA.training) drawTraining(place("training"));
  if (DATA.parameters.length) drawParameters(place("parameters"));
  if (hydrograph) hydrograph.draw();
}

function control(id, event, act) {
  place(id)?.addEventListener(event, act);
}

control("metric", "change", (event) => ((VIEW.metric = event.target.value), drawScores()));
control("name", "change", (event) => ((VIEW.name = event.target.value), drawScores(), currentSeries() && selectSite(listSites())));
control("static", "change", (event) => ((VIEW.static = event.target.value), drawScores()));
control("site", "change", (event) => selectSite(Number(event.target.value)));
control("log", "change", (event) => ((hydrograph.log = event.target.checked), hydrograph.draw()));
control("truth", "change", (event) => ((VIEW.truth = event.target.checked), drawParameters(place("parameters"))));
for (const button of document.querySelectorAll("button[data-days]"))
  button.addEventListener("click", () => {
    const days = Number(button.dataset.days), [a, b] = hydrograph.window, middle = (a + b) / 2;
    hydrograph.limit(days ? [middle - (days / 2) * DAY, middle + (days / 2) * DAY] : hydrograph.full);
  });

let resized = null;
addEventListener("resize", () => (clearTimeout(resized), (resized = setTimeout(draw, 150))));
draw();
const ready = currentSeries() ? selectSite(listSites()) : Promise.resolve();
ready.then(() => document.body.setAttribute("data-ready", "true"));
