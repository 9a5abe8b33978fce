// The page of one net: it compares itself with Python, reads what is drawn, shows its inside, and learns.
"use strict";

chalkPage("proof", async () => {
  const net = await chalkNet(program, page.net), side = page.side, size = page.shape.reduce((a, b) => a * b, 1), SIZE = 280, PEN = 22, EDGE = 4, STROKE = 0.25;
  const { scale, b: packed } = page.samples.x;
  const samples = scale ? Float32Array.from(await chalkArray("Uint8Array", packed), (v) => v / scale) : await chalkArray("Float32Array", packed);
  const wanted = await chalkArray("Float32Array", page.samples.y), count = samples.length / size, classes = wanted.length / count;
  const sampleAt = (k) => samples.slice(k * size, (k + 1) * size);
  const percent = (p) => `${(100 * p).toFixed(1)} %`;
  const predict = (x) => net.run("predict", x);

  // What Python computed, and the weights that it had

  function checkSum() {
    let c = ~0;
    for (const m of Object.values(net.memory)) {
      for (const byte of new Uint8Array(m.buffer)) {
        c ^= byte;
        for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
      }
    }
    return ~c >>> 0;
  }
  function check() {
    const whole = checkSum() === page.sum;
    let most = 0, off = 0;
    for (let k = 0; k < count; k++) {
      const [y] = predict(sampleAt(k));
      let worst = 0;
      y.forEach((v, j) => {
        const w = wanted[k * classes + j], d = Math.abs(v - w) / Math.max(1, Math.abs(w));
        worst = d <= worst ? worst : d; // NaN stays
      });
      if (!(worst <= 1e-5)) off++;
      most = worst <= most ? most : worst;
    }
    return { whole, off, most, good: whole && off === 0 };
  }
  const tested = check();
  net.reset();

  // Ink as MNIST has it: see datasets/images.py, fit_square

  function resampled(from, width, height, [x, y, extent], to) {
    const scale = extent / to, box = scale >= 1, support = box ? scale / 2 : 1;
    const taps = (begin, length) => Array.from({ length: to }, (_, k) => {
      const centre = begin + (k + 0.5) * scale, found = [];
      const first = Math.max(0, Math.trunc(centre - support + 0.5)), last = Math.min(length, Math.trunc(centre + support + 0.5));
      let sum = 0;
      for (let at = first; at < last; at++) {
        const d = (at - centre + 0.5) / (box ? scale : 1), w = box ? Number(d > -0.5 && d <= 0.5) : Math.max(0, 1 - Math.abs(d));
        found.push([at, w]);
        sum += w;
      }
      return found.map(([at, w]) => [at, w / sum]);
    });
    const columns = taps(x, width), rows = taps(y, height), half = new Float32Array(height * to), result = new Float32Array(to * to);
    for (let r = 0; r < height; r++) for (let c = 0; c < to; c++) for (const [at, w] of columns[c]) half[r * to + c] += w * from[r * width + at];
    for (let r = 0; r < to; r++) for (let c = 0; c < to; c++) for (const [at, w] of rows[r]) result[r * to + c] += w * half[at * to + c];
    return result;
  }
  function fit(ink, width, height) {
    const most = ink.reduce((a, b) => Math.max(a, b), 0);
    if (!most) return null;
    let top = height, bottom = -1, left = width, right = -1;
    for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) if (ink[r * width + c] / most >= STROKE) {
      top = Math.min(top, r); bottom = Math.max(bottom, r); left = Math.min(left, c); right = Math.max(right, c);
    }
    const h = bottom - top + 1, w = right - left + 1, margin = side >= 16;
    const pixel = Math.max(h, w) / (margin ? Math.round((side * 20) / 28) : side), middle = side / 2 + (margin ? 0.5 : 0);
    let sum = 0, row = 0, column = 0;
    for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) {
      const v = ink[(top + r) * width + left + c];
      sum += v; row += v * (r + 0.5); column += v * (c + 0.5);
    }
    const start = (at, extent) => Math.min(Math.max(middle - at / pixel, 0), side - extent / pixel);
    const y = start(row / sum, h), x = start(column / sum, w);
    const frame = Math.ceil(side * pixel) + 1, W = w + 2 * frame, H = h + 2 * frame, padded = new Float32Array(W * H);
    for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) padded[(r + frame) * W + c + frame] = ink[(top + r) * width + left + c] / most;
    return resampled(padded, W, H, [frame - x * pixel, frame - y * pixel, side * pixel], side).map((v) => Math.min(Math.max(v, 0), 1));
  }

  // Drawing

  const pad = make("canvas", { width: SIZE, height: SIZE, class: "pad", tabindex: 0, role: "application" });
  const pen = pad.getContext("2d", { willReadFrequently: true });
  pen.rect(EDGE, EDGE, SIZE - 2 * EDGE, SIZE - 2 * EDGE); pen.clip(); // paper all around, as the command needs to tell ink from paper
  pen.lineWidth = PEN; pen.lineCap = pen.lineJoin = "round"; pen.strokeStyle = "#000";
  let from = null, given = null, waits = false, sampleNumber = 0, key = { x: SIZE / 2, y: SIZE / 2, down: false };
  function line(a, b) { pen.beginPath(); pen.moveTo(a.x, a.y); pen.lineTo(b.x, b.y); pen.stroke(); later(); }
  function place(event) {
    const box = pad.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * SIZE, y: ((event.clientY - box.top) / box.height) * SIZE };
  }
  pad.addEventListener("pointerdown", (event) => { from = place(event); pad.setPointerCapture(event.pointerId); line(from, from); });
  pad.addEventListener("pointermove", (event) => { if (!from) return; for (const e of event.getCoalescedEvents?.() ?? [event]) { const to = place(e); line(from, to); from = to; } });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { from = null; });
  pad.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[event.key];
    if (!by && event.key !== " ") return;
    event.preventDefault();
    if (event.key === " ") { key.down = !key.down; if (key.down) line(key, key); return; }
    const to = { x: Math.min(Math.max(key.x + by[0], 0), SIZE), y: Math.min(Math.max(key.y + by[1], 0), SIZE), down: key.down };
    if (key.down) line(key, to);
    key = to;
  });
  function later() { if (!waits) { waits = true; requestAnimationFrame(() => { waits = false; readPad(); }); } }
  function inkOfPad() {
    const { data } = pen.getImageData(0, 0, SIZE, SIZE);
    return Float32Array.from({ length: SIZE * SIZE }, (_, k) => data[4 * k + 3] / 255);
  }
  const readPad = () => show(fit(inkOfPad(), SIZE, SIZE));
  function clear() { pen.clearRect(0, 0, SIZE, SIZE); key = { x: SIZE / 2, y: SIZE / 2, down: false }; show(null); }

  // Pictures of numbers: ink, or signed values in two colours

  function picture(canvas, tiles, height, width, at, signed) {
    const across = Math.max(1, Math.min(tiles, Math.ceil(Math.sqrt((tiles * height * 2) / width)))), down = Math.ceil(tiles / across), gap = tiles > 1 && height > 1 ? 1 : 0;
    canvas.width = across * (width + gap) - gap; canvas.height = down * (height + gap) - gap;
    const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
    let most = 0;
    for (let t = 0; t < tiles; t++) for (let k = 0; k < height * width; k++) most = Math.max(most, Math.abs(at(t, k)));
    for (let t = 0; t < tiles; t++) for (let k = 0; k < height * width; k++) {
      const v = at(t, k) / (most || 1), r = Math.floor(t / across) * (height + gap) + Math.floor(k / width), c = (t % across) * (width + gap) + (k % width);
      image.data.set(signed ? [...(v > 0 ? [214, 106, 38] : [38, 108, 190]), Math.round(255 * Math.abs(v))] : [0, 0, 0, Math.round(255 * v)], 4 * (r * canvas.width + c));
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }
  function mapOf(values, shape) {
    const canvas = make("canvas", { role: "img" });
    const [h, w, channels] = shape.length === 3 ? shape : shape.length === 2 ? [...shape, 1] : [1, 1, shape.reduce((a, b) => a * b, 1)];
    picture(canvas, channels, h, w, (t, k) => values[k * channels + t], true);
    canvas.style.width = `${canvas.width * (h > 1 ? Math.max(1, Math.min(4, Math.round(320 / canvas.width))) : Math.max(3, Math.min(12, Math.round(320 / canvas.width))))}px`;
    return canvas;
  }

  // What is shown

  const seen = make("canvas", { class: "given", role: "img" }), answer = make("p", { class: "answer" }), said_ = make("div", { role: "status" });
  const levels = make("table", { class: "levels" }), maps = make("div", { class: "maps" }), filters = make("figure", {}), weights = make("div", { class: "maps" }, filters), message = make("p", { role: "status" });
  let outputs = null, told = null;
  const ranked = (y) => Array.from(y, (p, k) => [p, k]).sort((a, b) => b[0] - a[0]);
  function show(x) {
    given = x;
    outputs = x && predict(x);
    describe();
  }
  function describe() {
    const y = outputs?.[0], order = y && ranked(y), best = order?.[0];
    if (side) {
      picture(seen, 1, side, side, (_, k) => (given ? given[k] : 0), false);
      seen.setAttribute("aria-label", T("seen"));
      answer.textContent = best ? best[1] : "";
      const lines = y ? [T("is", { digit: best[1], p: percent(best[0]) }), T("second", { digit: order[1][1], p: percent(order[1][0]) })] : [T("nothing")];
      if (y && page.confusion) {
        const row = page.confusion[best[1]], all = row.reduce((a, b) => a + b, 0), right = row[best[1]];
        const other = ranked(row.map((n, k) => (k === best[1] ? -1 : n)))[0][1];
        lines.push(T(all > right ? "mistaken" : "never", { all, digit: best[1], wrong: all - right, other }));
      }
      said_.replaceChildren(...lines.map((text, k) => make("p", { class: k ? "quiet" : null }, text)));
    }
    const row = (k) => make("tr", { class: best?.[1] === k && page.softmax ? "most" : null }, make("th", { scope: "row" }, String(k)),
      page.softmax ? make("td", {}, make("span", { class: "level", style: `width: ${y ? 100 * y[k] : 0}%` })) : null,
      make("td", {}, y ? (page.softmax ? percent(y[k]) : format(y[k], 6)) : "–"));
    levels.replaceChildren(make("caption", { class: "unseen" }, T(page.softmax ? "probabilities" : "outputs")), make("tbody", {}, ...Array.from({ length: classes }, (_, k) => row(k))));
    maps.replaceChildren(...(y ? page.layers : []).map((name, k) => {
      const shape = page.net.outputs.predict[k + 1][2].slice(1), label = T("layer", { n: k + 1, name, shape: shape.join(" × ") }), map = mapOf(outputs[k + 1], shape);
      map.setAttribute("aria-label", label);
      return make("figure", {}, map, make("figcaption", {}, label));
    }));
    drawFilters();
  }
  function drawFilters() {
    if (!page.kernel || !side) return;
    const [name, at, shape] = page.kernel, units = shape[shape.length - 1], shown = Math.min(units, page.filters), w = net.memory[name];
    const [h, wide, step] = shape.length === 2 ? [side, side, units] : [shape[0], shape[1], units * shape[2]];
    if (shape.length === 2 && shape[0] !== size) return;
    const canvas = picture(make("canvas", { role: "img", "aria-label": T("filters") }), shown, h, wide, (t, k) => w[at + k * step + t], true);
    canvas.style.width = `${canvas.width * (h > 8 ? 2 : 10)}px`;
    filters.replaceChildren(canvas, make("figcaption", {}, T("filters")));
  }

  // Learning: what was corrected, the latest first, among samples that it knows

  let corrections = [];
  function step(x, y) { return net.run("train", x, y)[0][0]; }
  function batch(turn) {
    const { batch: rows, onehot } = page.train, x = new Float32Array(rows * size), y = new Float32Array(onehot ? rows * classes : rows);
    for (let r = 0; r < rows; r++) {
      const own = r < rows / 2, k = (turn * (rows / 2) + r) % count, from = own ? corrections[r % corrections.length] : { x: sampleAt(k), label: page.samples.labels ? page.samples.labels[k] : ranked(wanted.slice(k * classes, (k + 1) * classes))[0][1] };
      x.set(from.x, r * size);
      if (onehot) y[r * classes + from.label] = 1; else y[r] = from.label;
    }
    return [x, y];
  }
  function teach(label) {
    if (!given) { tell("first"); return; }
    corrections = [{ x: given.slice(), label }, ...corrections].slice(0, 8);
    const losses = Array.from({ length: page.train.steps }, (_, turn) => step(...batch(turn)));
    show(given);
    const [p, digit] = ranked(outputs[0])[0];
    tell("learnt", { steps: losses.length, before: format(losses[0], 3), after: format(losses[losses.length - 1], 3), digit, p: percent(p) });
  }
  function tell(...what) { told = what; message.textContent = T(...what); }

  function render() {
    const at = (id) => document.getElementById(id);
    const difference = format(tested.most, 2);
    const found = [tested.whole ? "" : T("weights"), tested.off ? T("off", { count: tested.off, all: count, most: difference }) : ""].join(" ");
    at("proof").replaceChildren(make("p", { class: tested.good ? "good" : "bad", role: "status" }, tested.good ? T("same", { count, most: difference }) : T("differs", { found })));
    if ("accuracy as int8" in page.facts) at("proof").append(make("p", { class: "quiet" }, T("int8", { before: `${(100 * page.facts.accuracy).toFixed(2)} %`, after: `${(100 * page.facts["accuracy as int8"]).toFixed(2)} %` })));
    const next = make("button", { type: "button", id: "sample", onclick: () => { const k = sampleNumber++ % count; side ? paint(sampleAt(k)) : fill(sampleAt(k)); } }, T("sample"));
    if (side) {
      pad.setAttribute("aria-label", T("canvas"));
      at("work").replaceChildren(
        make("div", {}, make("h2", {}, T("draw")), pad, make("p", { class: "quiet" }, T("how")), make("div", { class: "row" }, make("button", { type: "button", id: "clear", onclick: clear }, T("clear")), next)),
        make("div", {}, make("h2", {}, T("reads")), make("div", { class: "row" }, answer, make("figure", { style: "margin: 0" }, seen, make("figcaption", { class: "quiet" }, T("seen")))), said_, levels));
    } else {
      at("work").replaceChildren(make("div", {}, make("h2", {}, T("inputs")), sequence ? make("label", {}, T("sequence", { steps, features }), rows) : fields, sequence ? wrong : null, make("div", { class: "row" }, next)), make("div", {}, make("h2", {}, T("outputs")), levels));
      [...fields.children].forEach((label, k) => { label.firstChild.textContent = T("input", { n: k + 1 }); });
      if (sequence) readRows();
    }
    if (page.train && page.softmax) at("teach").replaceChildren(make("h2", {}, T("teach")), make("p", {}, T("teachhow", { steps: page.train.steps })),
      make("div", { class: "row" }, ...Array.from({ length: classes }, (_, k) => make("button", { type: "button", class: "label", onclick: () => teach(k) }, String(k)))), message,
      make("div", { class: "row" }, make("button", { type: "button", id: "reset", onclick: () => { net.reset(); corrections = []; tell("forgotten"); show(given); } }, T("reset"))));
    at("inside").replaceChildren(make("h2", {}, T("inside")), maps, make("p", {}), weights);
    if (told) tell(...told);
    describe();
  }

  // A sample as it is, painted large: the net is given its own pixels
  function paint(x) {
    pen.clearRect(0, 0, SIZE, SIZE);
    const p = SIZE / side;
    x.forEach((v, k) => { pen.fillStyle = `rgba(0, 0, 0, ${v})`; pen.fillRect((k % side) * p, Math.floor(k / side) * p, p, p); });
    show(x);
  }
  const [steps, features] = page.shape, sequence = !side && features !== undefined;
  const rows = make("textarea", { rows: 10, spellcheck: "false", autocomplete: "off", oninput: readRows }), wrong = make("p", { class: "bad", role: "status" });
  function readRows() {
    const lines = rows.value.trim().split("\n").map((line) => line.trim().split(/[\s,;]+/)), found = lines.map((line) => line.map(read));
    const bad = found.findIndex((line) => line.length !== features || line.includes(null));
    const fault = bad >= 0 ? ["badline", { line: bad + 1, text: lines[bad].join(" ").slice(0, 40), features }] : found.length !== steps ? ["badcount", { lines: found.length, steps }] : null;
    wrong.textContent = fault ? T(...fault) : "";
    show(fault ? null : Float32Array.from(found.flat()));
  }
  const fields = make("div", { class: "fields" }, ...(side || sequence ? [] : Array.from({ length: size }, () => make("label", {}, "", make("input", { type: "text", inputmode: "decimal", value: "0", oninput: readFields })))));
  function readFields() {
    const values = [...fields.querySelectorAll("input")].map((input) => read(input.value));
    show(values.includes(null) ? null : Float32Array.from(values));
  }
  function fill(x) {
    if (sequence) { rows.value = Array.from({ length: steps }, (_, t) => Array.from(x.slice(t * features, (t + 1) * features), typed).join(" ")).join("\n"); readRows(); return; }
    [...fields.querySelectorAll("input")].forEach((input, k) => { input.value = typed(x[k]); });
    readFields();
  }

  window.reader = { net, predict, fit, step, tested, batch, samples, inkOfPad, read: readPad, given: () => given, outputs: () => outputs };
  tools.frame(render);
  if (!side) fill(sampleAt(0));
});
