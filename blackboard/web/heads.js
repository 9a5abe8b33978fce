// The heads of attention on a text: choose a layer, a head and a token; the weights as a picture, the numbers beside it.
"use strict";

(() => {
  const root = document.getElementById("heads"), given = page.heads, n = given.tokens.length;
  let layer = given.layer, head = given.head, row = given.row;
  const SIDE = Math.max(8, Math.min(26, Math.floor(520 / n)));

  function arrays() {
    const found = given.layers[layer][head];
    const [scores, weights, values, outputs] = ["scores", "weights", "values", "outputs"].map((name) => unpacked(found[name]));
    return { scores, weights, values, outputs, features: values.length / n };
  }

  const chooser = (key, count, chosen, change) => make("label", {}, `${T(key)} `,
    make("select", { id: key, onchange: (event) => { change(Number(event.target.value)); render(); } },
      ...Array.from({ length: count }, (_, k) => make("option", { value: k, ...(k === chosen ? { selected: "" } : {}) }, k + 1))));

  function picture(weights) {
    const label = 8 * Math.min(9, Math.max(...given.tokens.map((t) => t.length))) + 16;
    const size = label + n * SIDE, cells = [];
    const words = given.tokens.flatMap((token, k) => [
      draw("text", { x: label - 6, y: label + (k + 0.72) * SIDE, "text-anchor": "end", class: k === row ? "chosen" : "" }, token.slice(0, 9)),
      draw("text", { transform: `translate(${label + (k + 0.72) * SIDE} ${label - 6}) rotate(-90)` }, token.slice(0, 9)),
    ]);
    for (let i = 0; i < n; i++) for (let j = 0, most = Math.max(...weights.slice(i * n, i * n + n)); j < n; j++) {
      const p = weights[i * n + j];
      cells.push(draw("rect", { x: label + j * SIDE, y: label + i * SIDE, width: SIDE, height: SIDE, "fill-opacity": p / most, "data-row": i }, draw("title", {}, `${given.tokens[i]} → ${given.tokens[j]}: ${format(p, 3)}`)));
    }
    const svg = draw("svg", { viewBox: `0 0 ${size} ${size}`, width: size, role: "img", "aria-label": T("heads.picture", { layer: layer + 1, head: head + 1 }), class: "heads", style: `font-size: ${Math.min(12, SIDE)}px` },
      draw("rect", { x: label, y: label, width: n * SIDE, height: n * SIDE, class: "ground" }), ...cells,
      draw("rect", { x: label, y: label + row * SIDE, width: n * SIDE, height: SIDE, class: "mark" }), ...words);
    svg.addEventListener("click", (event) => { const to = event.target.dataset?.row; if (to !== undefined) { row = Number(to); render(); } });
    return make("div", { class: "scroll", tabindex: 0 }, svg);
  }

  function numbers({ scores, weights, values, outputs, features }) {
    const names = Array.from({ length: features }, (_, f) => `v[${f}]`);
    const lines = given.tokens.map((token, j) => [token, format(scores[row * n + j]), format(weights[row * n + j]),
      ...names.map((_, f) => format(values[j * features + f]))]).filter((_, j) => weights[row * n + j]);
    const whole = weights.slice(row * n, (row + 1) * n).reduce((a, b) => a + b, 0);
    lines.push(["Σ p·v", "", format(whole), ...names.map((_, f) => format(outputs[row * features + f]))]);
    const caption = T("heads.row", { place: row + 1, token: given.tokens[row] });
    return make("div", { class: "scroll", tabindex: 0 }, grid([T("heads.key"), "s = q·k/√c", "p", ...names], lines, { caption, left: 1 }));
  }

  function render() {
    const found = arrays(), active = document.activeElement?.id;
    const tokens = make("label", {}, `${T("heads.token")} `, make("select", { id: "token", onchange: (event) => { row = Number(event.target.value); render(); } },
      ...given.tokens.map((token, k) => make("option", { value: k, ...(k === row ? { selected: "" } : {}) }, `${k + 1} ${token}`))));
    root.replaceChildren(
      make("p", { class: "quiet" }, T("heads.about")), equation(T("equation"), mathematics(given.equation)),
      make("div", { class: "choices" }, chooser("layer", given.layers.length, layer, (to) => { layer = to; }),
        chooser("heads.head", given.layers[0].length, head, (to) => { head = to; }), tokens),
      make("div", { class: "columns" }, picture(found.weights), numbers(found)));
    if (active) document.getElementById(active)?.focus();
  }

  tools.frame(render);
})();
