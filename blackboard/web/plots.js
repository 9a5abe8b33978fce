// Plots as inline SVG and canvas: curves over epochs, histograms, a surface from above.
"use strict";

const plots = (() => {
  const text = (attributes, content) => Object.assign(draw("text", attributes), { textContent: content });

  // Multiples of 1, 2 or 5 times a power of ten between low and high, about `count` of them
  function steps(low, high, count = 4) {
    const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((digit) => digit * power).find((s) => s >= rough * 0.999);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
    return found;
  }

  // series: [{ name, values, colour, dashed }] over `epochs`, or what else is `along`; chosen: the epoch that is marked;
  // told: what it shows
  function curves(told, epochs, series, { along, chosen = -1, asPercent = false }) {
    const W = 460, H = 260, left = 56, right = 96, top = 14, bottom = 40;
    const finite = series.flatMap((s) => s.values).map(number).filter(Number.isFinite);
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": told });
    if (!finite.length) return svg;
    let low = Math.min(...finite), high = Math.max(...finite);
    const logarithmic = !asPercent && low > 0 && high > 10 * low;
    const measure = logarithmic ? Math.log10 : (v) => v;
    [low, high] = [measure(low), measure(high)];
    const room = (high - low) * 0.05 || 0.5;
    low -= room; high += room;
    if (asPercent) high = Math.min(high, 1.005);
    const first = epochs[0], last = Math.max(epochs.at(-1), first + 1);
    const x = (e) => left + ((e - first) / (last - first)) * (W - left - right);
    const y = (v) => H - bottom - ((measure(v) - low) / (high - low)) * (H - bottom - top);
    const decades = () => { const found = []; for (let p = Math.floor(low) - 1; p <= high; p++) for (const d of high - low < 2.5 ? [1, 2, 5] : [1]) found.push(d * 10 ** p); return found; };
    for (const tick of logarithmic ? decades().filter((t) => measure(t) >= low && measure(t) <= high) : steps(low, high)) {
      svg.append(draw("path", { class: "axis", d: `M${left} ${y(tick)}H${W - right}` }),
        text({ x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, asPercent ? `${format(100 * tick)} %` : format(tick)));
    }
    for (const e of steps(first, last, 5).filter(Number.isInteger)) svg.append(text({ x: x(e), y: H - bottom + 18, "text-anchor": "middle" }, String(e)));
    svg.append(text({ x: (left + W - right) / 2, y: H - 4, "text-anchor": "middle" }, along));
    if (chosen >= first && chosen <= last) svg.append(draw("path", { class: "chosen", d: `M${x(chosen)} ${top}V${H - bottom}` }));
    const ends = [];
    for (const { name, values, colour, dashed } of series) {
      let path = "", down = false;
      values.forEach((raw, i) => {
        const v = number(raw);
        if (!Number.isFinite(v)) { down = false; return; }
        path += `${down ? "L" : "M"}${x(epochs[i]).toFixed(1)} ${y(v).toFixed(1)}`;
        down = true;
        if (values.length < 13) svg.append(draw("circle", { cx: x(epochs[i]), cy: y(v), r: 2.6, style: `fill:var(--${colour})` }));
      });
      svg.append(draw("path", { d: path, fill: "none", "stroke-width": 2.2, "stroke-linejoin": "round", style: `stroke:var(--${colour})`, ...(dashed ? { "stroke-dasharray": "5 4" } : {}) }));
      const end = values.map(number).findLast(Number.isFinite);
      if (end !== undefined) ends.push({ name, colour, y: y(end) });
    }
    ends.sort((a, b) => a.y - b.y).forEach((end, i) => {  // labels beside the curves' ends, none over another
      if (i) end.y = Math.max(end.y, ends[i - 1].y + 16);
      svg.append(text({ x: W - right + 6, y: end.y + 4, "text-anchor": "start", style: `fill:var(--${end.colour})` }, end.name));
    });
    return svg;
  }

  function histogram(told, { low, high, counts, mean, deviation, strange }, colour) {
    const W = 300, H = 92, bottom = 20;
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": `${told}: ${format(low)} … ${format(high)}, ${T("watch.mean")} ${format(mean)}, σ ${format(deviation)}` });
    const most = Math.max(1, ...counts), wide = W / Math.max(1, counts.length);
    counts.forEach((count, i) => {
      const tall = ((H - bottom - 4) * count) / most;
      svg.append(draw("rect", { x: i * wide + 0.5, y: H - bottom - tall, width: wide - 1, height: tall, style: `fill:var(--${colour})` }));
    });
    svg.append(draw("path", { class: "axis", d: `M0 ${H - bottom}H${W}` }));
    const ends = low < high ? [[low, 0, "start"], [high, W, "end"]] : [[low, W / 2, "middle"]];
    for (const [value, at, anchor] of ends) svg.append(text({ x: at, y: H - 5, "text-anchor": anchor }, format(value, 3)));
    if (low < 0 && high > 0) {
      const at = (-low / (high - low)) * W;
      svg.append(draw("path", { class: "axis", d: `M${at} ${H - bottom}v4` }));
      if (at > 60 && at < W - 60) svg.append(text({ x: at, y: H - 5, "text-anchor": "middle" }, "0"));
    }
    if (strange) svg.append(text({ x: W / 2, y: 14, "text-anchor": "middle", class: "strange" }, T("watch.strange", { count: strange })));
    return svg;
  }

  const PALE = [[253, 231, 190], [240, 148, 80], [140, 45, 105], [38, 18, 74]];  // high … low: the valley is dark
  function colour(t) {
    const at = Math.min(Math.max(t, 0), 1) * (PALE.length - 1), i = Math.min(Math.floor(at), PALE.length - 2), part = at - i;
    return PALE[i].map((c, k) => Math.round(c + (PALE[i + 1][k] - c) * part));
  }

  // Heights on a square grid, the first row below, in bands of equal logarithm; returns the canvas and its scale
  function surface(told, grid) {
    const SIZE = 300, BANDS = 14, n = grid.length;
    const logs = grid.map((row) => row.map((v) => { const x = number(v); return Number.isFinite(x) ? Math.log(Math.max(x, 1e-12)) : Infinity; }));
    const finite = logs.flat().filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite);
    const canvas = make("canvas", { width: SIZE, height: SIZE, class: "surface", role: "img", "aria-label": told });
    const context = canvas.getContext("2d"), picture = context.createImageData(SIZE, SIZE);
    const height = (px, py) => {
      const gx = (px / (SIZE - 1)) * (n - 1), gy = ((SIZE - 1 - py) / (SIZE - 1)) * (n - 1);
      const i = Math.min(Math.floor(gy), n - 2), j = Math.min(Math.floor(gx), n - 2), u = gx - j, v = gy - i;
      return (1 - v) * ((1 - u) * logs[i][j] + u * logs[i][j + 1]) + v * ((1 - u) * logs[i + 1][j] + u * logs[i + 1][j + 1]);
    };
    const band = (h) => (Number.isFinite(h) ? Math.floor(((high - h) / (high - low || 1)) * BANDS * 0.9999) : -1);
    const bands = Array.from({ length: SIZE }, (_, y) => Array.from({ length: SIZE }, (_, x) => band(height(x, y))));
    for (let y = 0; y < SIZE; y++) {
      for (let x = 0; x < SIZE; x++) {
        const own = bands[y][x], edge = own !== bands[y][Math.max(0, x - 1)] || own !== bands[Math.max(0, y - 1)][x];
        const [r, g, b] = own < 0 ? [255, 255, 255] : colour((own + 0.5) / BANDS);
        const dim = edge ? 0.8 : 1;
        picture.data.set([r * dim, g * dim, b * dim, 255], 4 * (y * SIZE + x));
      }
    }
    context.putImageData(picture, 0, 0);
    context.strokeStyle = "#fff"; context.lineWidth = 2;
    context.beginPath(); context.arc(SIZE / 2, SIZE / 2, 6, 0, 2 * Math.PI); context.stroke();
    return { canvas, colours: Array.from({ length: BANDS }, (_, i) => `rgb(${colour((i + 0.5) / BANDS)})`), low: Math.exp(low), high: Math.exp(high) };
  }

  // A grey image, dark on light
  function image(values, [height, width], told) {
    const canvas = make("canvas", { width, height, role: "img", "aria-label": told });
    const context = canvas.getContext("2d"), picture = context.createImageData(width, height);
    values.forEach((v, i) => picture.data.set([255 - v, 255 - v, 255 - v, 255], 4 * i));
    context.putImageData(picture, 0, 0);
    return canvas;
  }

  return { curves, histogram, surface, image };
})();
