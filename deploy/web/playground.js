// The playground: what is chosen, drawn and told. Layers, gradients and updates are the engine's, in `program`, `updates`.
"use strict";

chalkPage("work", async () => {
  const { depth: DEPTH, width: WIDTH, points: POINTS, grid: GRID, weights: SIZE } = page.sizes, REACH = 1.2, KEPT = 2000;
  const { beta_1: B1, beta_2: B2, epsilon: EPSILON } = page.adam;
  const net = await chalkNet(program, page.net), starts = await chalkArray("Float32Array", page.start), sets = {};
  for (const [name, both] of Object.entries(page.data)) sets[name] = await Promise.all(["x", "y"].map((k) => chalkArray("Float32Array", both[k])));
  const RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];
  const chosen = { dataset: "spirals", depth: 3, widths: [8, 8, 8], activation: "tanh", optimizer: "adam", rate: 0.01, seed: 0, adds: 0 };
  const own = { x: [], y: [] };
  let s, last, past, playing = false, marked = [1, 0], cross = [0, 0], seen;

  const centre = (k) => ((k + 0.5) / GRID) * 2 * REACH - REACH;
  function points() {
    if (chosen.dataset === "own") return own;
    const [x, y] = sets[chosen.dataset];
    return { x, y };
  }
  let at = points();
  const list = (kind) => `${kind}_${chosen.depth}_${chosen.depth ? chosen.activation : "tanh"}`;
  const mask = () => Float32Array.from({ length: DEPTH * WIDTH }, (_, k) => Number(k % WIDTH < chosen.widths[Math.floor(k / WIDTH)]));
  const padded = (values, size) => { const all = new Float32Array(size); all.set(values); return all; };

  // Where the weights of a layer begin, and how many neurons are before it
  const layers = () => {
    let begin = 0, rows = 2, used = 2;
    return [...chosen.widths.slice(0, chosen.depth).map((n) => [n, WIDTH]), [1, 1]].map(([active, columns]) => {
      const layer = { begin, rows, columns, used, active, bias: begin + rows * columns };
      begin += (rows + 1) * columns; rows = columns; used = active;
      return layer;
    });
  };

  function restart() {
    const draws = starts.subarray((SIZE * chosen.seed) % starts.length);
    s = { theta: new Float32Array(SIZE), g: new Float32Array(SIZE), t: 0 };
    for (const { begin, rows, columns, used, active } of layers()) {
      const most = Math.sqrt(6 / (used + active));
      for (let k = 0; k < rows * columns; k++) s.theta[begin + k] = draws[begin + k] * most;
    }
    for (const name of page.slots[chosen.optimizer]) s[name] = new Float32Array(SIZE);
    past = []; last = null;
    look();
  }
  function derivative() {
    const n = at.y.length;
    return net.run(list("gradient"), s.theta, padded(at.x, 2 * POINTS), padded(at.y, POINTS), padded(new Float32Array(n).fill(1 / n), POINTS), mask());
  }
  function step() {
    past.push({ s, last });
    if (past.length > KEPT) past.shift();
    const before = s, [, g] = derivative();
    s = { ...s, g, t: s.t + 1, learning_rate: chosen.rate };
    updates[chosen.optimizer](s, F);
    for (const name of ["theta", ...page.slots[chosen.optimizer]]) s[name] = Float32Array.from(s[name]);
    last = before;
  }
  function back() { if (past.length) ({ s, last } = past.pop()); look(); }

  // What the net makes of the plane and of the points
  function look() {
    const places = new Float32Array(2 * (GRID * GRID + POINTS));
    for (let k = 0; k < GRID * GRID; k++) places.set([centre(k % GRID), -centre(Math.floor(k / GRID))], 2 * k);
    places.set(at.x, 2 * GRID * GRID);
    seen = net.run(list("forward"), s.theta, places, mask());
    show();
  }
  const accuracy = () => {
    const n = at.y.length;
    let right = 0;
    for (let k = 0; k < n; k++) right += Number(seen[0][GRID * GRID + k] > 0 === at.y[k] > 0.5);
    return n ? right / n : NaN;
  };

  const plane = make("canvas", { class: "plane", width: 400, height: 400, role: "application", tabindex: 0 });
  const told = make("p", { class: "told", "aria-live": "polite" });
  const WARM = [214, 106, 38], COLD = [38, 108, 190];
  function picture(canvas, value, strength) {
    const small = new OffscreenCanvas(GRID, GRID), image = new ImageData(GRID, GRID);
    for (let k = 0; k < GRID * GRID; k++) {
      const v = Math.tanh(value(k));
      image.data.set([...(v > 0 ? WARM : COLD).map((c) => Math.round(255 - (255 - c) * Math.abs(v) * strength)), 255], 4 * k);
    }
    small.getContext("2d").putImageData(image, 0, 0);
    canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
  }
  function show() {
    picture(plane, (k) => seen[0][k] / 2, 0.7);
    const pen = plane.getContext("2d"), on = (v) => ((v + REACH) / (2 * REACH)) * 400;
    pen.strokeStyle = "#fff"; pen.lineWidth = 1;
    for (let k = 0; k < at.y.length; k++) {
      const x = on(at.x[2 * k]), y = on(-at.x[2 * k + 1]);
      pen.fillStyle = at.y[k] ? "#8f3d0a" : "#0d3f7a";
      pen.beginPath();
      if (at.y[k]) pen.rect(x - 4, y - 4, 8, 8); else pen.arc(x, y, 4.5, 0, 7);
      pen.fill(); pen.stroke();
    }
    if (at.y.length) { pen.strokeStyle = "#000"; pen.lineWidth = 2; pen.beginPath(); pen.arc(on(at.x[0]), on(-at.x[1]), 9, 0, 7); pen.stroke(); }
    if (chosen.dataset === "own") { pen.strokeStyle = "#000"; pen.strokeRect(on(cross[0]) - 7, on(-cross[1]) - 7, 14, 14); }
    for (const [k, j, canvas] of thumbnails) picture(canvas, (n) => (k > chosen.depth ? seen[0][n] : seen[k][n * WIDTH + j]), 1);
    const [loss] = derivative()[0], share = accuracy();
    told.textContent = T("told", { t: s.t, loss: at.y.length ? format(loss) : "–", accuracy: Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %` });
    numbers();
  }

  // The equations with the numbers of the marked neuron
  const live = {};
  function numbers() {
    const [k, j] = marked, layer = layers()[k - 1], f = (x) => (x < 0 ? `(${format(x)})` : format(x)), what = k > chosen.depth ? T("output") : T("neuron", { k, j: j + 1 });
    const w = layer.begin + j, bias = layer.bias + j, from = GRID * GRID;
    const input = (i) => (k === 1 ? at.x[i] : seen[k - 1][from * WIDTH + i]);
    const terms = Array.from({ length: layer.used }, (_, i) => `${f(s.theta[layer.begin + i * layer.columns + j])} · ${f(input(i))}`).join(" + ");
    const result = k > chosen.depth ? seen[0][from] : seen[k][from * WIDTH + j], sigma = k > chosen.depth ? "" : chosen.activation;
    live.D1.textContent = at.y.length ? `${T("here", { what })} ${sigma}(${terms} + ${f(s.theta[bias])}) = ${format(result)}` : "–";
    live.D2.textContent = T("none");
    const adam = chosen.optimizer.startsWith("adam"), g = f(s.g[w]), weight = T("weight", { t: s.t });
    const say = (number, used, text) => { live[number].textContent = !used ? T("unused") : !last ? T("unstepped") : `${weight} ${text()}`; };
    // s and r of the corrected Adam are m / (1 − β1) and v / (1 − β2)
    const moment = (state, name, sum, beta) => (name in state ? state[name][w] : (state[sum]?.[w] ?? 0) * (1 - beta));
    const m = (state) => moment(state, "m", "s", B1), v = (state) => moment(state, "v", "r", B2);
    say("D3", chosen.optimizer === "sgd", () => `${f(last.theta[w])} − ${f(s.learning_rate)} · ${g} = ${format(s.theta[w])}`);
    say("D4", adam, () => `${B1} · ${f(m(last))} + ${f(1 - B1)} · ${g} = ${format(m(s))}`);
    say("D5", adam, () => `${B2} · ${f(v(last))} + ${f(1 - B2)} · ${g}² = ${f(v(s))}`);
    say("D6", adam, () => {
      const by = chosen.optimizer === "adam" ? [1 - B1 ** s.t, 1 - B2 ** s.t] : null, divided = (x, c) => (c === undefined ? f(x) : `(${f(x)} / ${f(c)})`);
      return `${f(last.theta[w])} − ${f(s.learning_rate)} · ${divided(m(s), by?.[0])} / (√${divided(v(s), by?.[1])} + ${f(EPSILON)}) = ${format(s.theta[w])}`;
    });
  }

  // What is chosen
  let thumbnails = [];
  function change(values) {
    Object.assign(chosen, values);
    at = points();
    if (marked[0] > chosen.depth + 1 || marked[1] >= [...chosen.widths.slice(0, chosen.depth), 1][marked[0] - 1]) marked = [1, 0];
    s = null; playing = false;
    build();
  }
  function select(label, options, value, changed) {
    const field = make("select", { onchange: () => changed(field.value) }, ...options.map(([name, text]) => make("option", { value: name, ...(String(name) === String(value) ? { selected: "" } : {}) }, text)));
    return make("label", {}, label, field);
  }
  const named = (names) => names.map((name) => [name, T(name)]);
  const count = (from, to) => Array.from({ length: to - from + 1 }, (_, k) => [from + k, String(from + k)]);
  const button = (key, act) => make("button", { type: "button", id: key, onclick: act }, T(key));
  function build() {
    const focus = document.activeElement?.closest?.("label")?.firstChild?.textContent;
    const choices = make("div", { class: "choices" },
      select(T("dataset"), named([...Object.keys(page.data), "own"]), chosen.dataset, (dataset) => change({ dataset })),
      chosen.dataset === "own" ? select(T("adds"), [[0, T("first")], [1, T("other")]], chosen.adds, (k) => { chosen.adds = Number(k); }) : null,
      select(T("depth"), count(0, DEPTH), chosen.depth, (n) => change({ depth: Number(n) })),
      ...chosen.widths.slice(0, chosen.depth).map((n, k) => select(T("width", { k: k + 1 }), count(1, WIDTH), n, (m) => change({ widths: chosen.widths.map((old, i) => (i === k ? Number(m) : old)) }))),
      select(T("activation"), page.activations.map((name) => [name, name]), chosen.activation, (activation) => change({ activation })),
      select(T("optimizer"), named(Object.keys(page.slots)), chosen.optimizer, (optimizer) => change({ optimizer })),
      select(T("rate"), RATES.map((rate) => [rate, String(rate)]), chosen.rate, (rate) => { chosen.rate = Number(rate); }));
    const buttons = make("div", { class: "row" }, button("back", () => { stop(); back(); }), button("play", toggle), button("step", () => { stop(); step(); look(); }),
      button("restart", () => { stop(); restart(); }), button("draw", () => { stop(); chosen.seed++; restart(); }));
    plane.setAttribute("aria-label", T("plane"));
    thumbnails = [];
    const layer = (k, n) => make("div", { class: "layer" }, make("h3", {}, k > chosen.depth ? T("output") : T("layer", { k })), ...Array.from({ length: n }, (_, j) => {
      const canvas = make("canvas", { width: GRID, height: GRID }), what = k > chosen.depth ? T("output") : T("neuron", { k, j: j + 1 });
      thumbnails.push([k, j, canvas]);
      return make("button", { type: "button", "aria-label": what, "aria-pressed": String(marked[0] === k && marked[1] === j), onclick: (event) => {
        marked = [k, j];
        for (const other of document.querySelectorAll(".layer button")) other.setAttribute("aria-pressed", String(other === event.currentTarget));
        numbers();
      } }, canvas);
    }));
    document.getElementById("work").replaceChildren(make("div", {}, plane, told, buttons), make("div", {}, choices,
      make("h2", {}, T("layers")), make("p", { class: "quiet" }, T("neuronshow")),
      make("div", { class: "layers" }, ...[...chosen.widths.slice(0, chosen.depth), 1].map((n, k) => layer(k + 1, n)))));
    const equations = Object.keys(page.documented).flatMap((number) => [documents([number]), (live[number] = make("p", { class: "live" }))]);
    document.getElementById("equations").replaceChildren(make("h2", {}, T("numbers")), ...equations);
    if (s) look(); else restart();
    for (const label of document.querySelectorAll("label")) if (focus && label.firstChild.textContent === focus) label.querySelector("select").focus();
  }
  const stop = () => { playing = false; told.setAttribute("aria-live", "polite"); document.getElementById("play").textContent = T("play"); };
  function toggle() {
    playing = !playing;
    told.setAttribute("aria-live", playing ? "off" : "polite");
    document.getElementById("play").textContent = T(playing ? "pause" : "play");
    const turn = () => { if (!playing) return; for (let k = 0; k < 5; k++) step(); look(); requestAnimationFrame(turn); };
    if (playing) requestAnimationFrame(turn);
  }
  function add(x, y) {
    if (chosen.dataset !== "own" || own.y.length >= POINTS) return;
    own.x.push(x, y); own.y.push(chosen.adds); look();
  }
  plane.addEventListener("click", (event) => {
    const box = plane.getBoundingClientRect(), on = (v, from, size) => ((v - from) / size) * 2 * REACH - REACH;
    add(on(event.clientX, box.left, box.width), -on(event.clientY, box.top, box.height));
  });
  plane.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (chosen.dataset !== "own" || (!by && event.key !== " ")) return;
    event.preventDefault();
    if (by) { cross = cross.map((v, k) => Math.min(Math.max(v + by[k], -1.1), 1.1)); show(); } else add(...cross);
  });
  tools.frame(build);
  globalThis.playground = {
    chosen, change, restart, accuracy, back, state: () => s, points: () => ({ x: [...at.x], y: [...at.y] }), loss: () => derivative()[0][0],
    step: (n = 1) => { for (let k = 0; k < n; k++) step(); look(); },
  };
});
