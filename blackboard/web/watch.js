// The page of a training: follows it while it goes on, and lets its epochs be looked at again afterwards.
"use strict";

(() => {
  const root = document.getElementById("watched");
  let data = page.watched, chosen = null, following = true;

  const frame = () => data.frames.find((f) => f.epoch === chosen) ?? data.frames.at(-1);
  const values = (name) => data.history.values[name];
  const at = (name, epoch) => values(name)?.[data.history.epoch.indexOf(epoch)];
  const percent = (name) => /accuracy/.test(name);
  const shown = (name, value) => (value === undefined ? "–" : percent(name) ? `${format(100 * number(value))} %` : format(number(value)));
  const measured = () => [...new Set(Object.keys(data.history.values).map((name) => name.replace(/^(val|train)_/, "")))];

  function render() {
    if (following) chosen = data.frames.at(-1).epoch;
    const active = document.activeElement?.id;
    root.replaceChildren(head(), figures(), curves(), digits(), spread(), surface());
    if (active) document.getElementById(active)?.focus();
  }

  function head() {
    const frames = data.frames.map((f) => f.epoch);
    const slider = make("input", { type: "range", id: "epoch", min: 0, max: frames.length - 1, value: frames.indexOf(frame().epoch), "aria-label": T("watch.epoch"),
      "aria-valuetext": `${T("watch.epoch")} ${frame().epoch}`,
      oninput: (event) => { const to = Number(event.target.value); following = to === frames.length - 1; chosen = frames[to]; render(); } });
    return make("div", {}, make("p", { class: "quiet" }, data.note),
      make("div", { class: "bar controls" }, make("div", {},
        make("span", { class: `state ${data.state}`, role: "status" }, T(`watch.${data.state}`)),
        slider, make("span", { class: "where" }, T("watch.after", { epoch: frame().epoch, epochs: data.epochs })))));
  }

  const section = (title, note, ...content) => make("section", {}, make("h2", {}, title), note ? make("p", { class: "quiet" }, note) : null, ...content);

  function figures() {
    const boxes = Object.keys(data.history.values).map((name) =>
      make("div", { class: "figure" }, make("span", { class: "quiet" }, name), make("strong", {}, shown(name, at(name, frame().epoch)))));
    return make("div", { class: "figures" }, ...boxes);
  }

  function curves() {
    const kinds = [["", "watch.training", "quiet", false], ["val_", "watch.validation", "forward", false], ["train_", "watch.at_the_end", "good", true]];
    const charts = measured().map((base) => {
      const series = kinds.filter(([prefix]) => values(prefix + base)).map(([prefix, key, colour, dashed]) => ({ name: T(key), values: values(prefix + base), colour, dashed }));
      const told = `${base}: ${series.map((s) => `${s.name} ${shown(base, s.values.at(-1))}`).join(", ")}`;
      return make("div", {}, make("h3", {}, base), plots.curves(told, data.history.epoch, series, { along: T("watch.epoch"), chosen: frame().epoch, asPercent: percent(base) }));
    });
    return section(T("watch.curves"), T("watch.curves_note"), make("div", { class: "side" }, ...charts));
  }

  function digits() {
    const { predictions } = frame();
    if (!predictions.length) return "";
    const best = predictions.map((row) => row.map(number).indexOf(Math.max(...row.map(number))));
    const right = best.filter((answer, i) => answer === data.labels[i]).length;
    const boxes = data.images.map((image, i) => {
      const well = best[i] === data.labels[i], sure = number(predictions[i][best[i]]);
      const told = best[i] < 0 ? "NaN" : `${well ? "✓" : "✗"} ${best[i]}`;
      const bars = make("div", { class: "bars", "aria-hidden": "true" }, ...predictions[i].map((p, k) =>
        make("i", { class: k === data.labels[i] ? "true" : null, title: `${k}: ${format(100 * number(p), 3)} %`, style: `height:${(100 * number(p) || 0).toFixed(0)}%` })));
      return make("figure", { class: well ? "well" : "wrong" }, plots.image(image, data.size, T("watch.digit", { label: data.labels[i] })), bars,
        make("figcaption", {}, make("b", {}, told), ` ${format(100 * sure, 3)} %`, well ? "" : make("span", { class: "quiet" }, ` ${T("watch.instead", { label: data.labels[i] })}`)));
    });
    return section(T("watch.digits"), T("watch.digits_note", { right, count: boxes.length }), make("div", { class: "digits" }, ...boxes));
  }

  function spread() {
    const rows = data.names.map(([name, shape], i) => {
      const weights = frame().weights[i], gradients = frame().gradients[i];
      return make("tr", {}, make("th", { scope: "row" }, name, make("br"), make("span", { class: "quiet" }, shape.join(" × "))),
        make("td", {}, plots.histogram(`${name}, ${T("watch.weights")}`, weights, "forward")),
        make("td", {}, gradients ? plots.histogram(`${name}, ${T("watch.gradients")}`, gradients, "backward") : "–"));
    });
    const top = make("tr", {}, ...["", "watch.weights", "watch.gradients"].map((key) => make(key ? "th" : "td", key ? { scope: "col" } : {}, key ? T(key) : "")));
    return section(T("watch.spread"), T("watch.spread_note", { samples: data.samples }),
      make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": T("watch.spread") }, make("table", { class: "spread" }, make("thead", {}, top), make("tbody", {}, ...rows))));
  }

  function surface() {
    const taken = data.frames.filter((f) => f.surface && f.epoch <= frame().epoch).at(-1);
    if (!taken) return "";
    const n = taken.surface.length, middle = format(number(taken.surface[(n - 1) / 2][(n - 1) / 2]));
    const { canvas, colours, low, high } = plots.surface("", taken.surface);
    canvas.setAttribute("aria-label", `${T("watch.surface")}${T("colon")}${format(low)} … ${format(high)}, ${T("watch.here")} ${middle}`);
    const scale = make("div", { class: "scale" }, ...colours.map((c) => make("i", { style: `background:${c}` })));
    return section(T("watch.surface"), T("watch.surface_note", { samples: data.samples, epoch: taken.epoch }),
      make("div", { class: "side" }, make("div", { class: "plane" }, canvas, make("span", { class: "quiet" }, "δ →")),
        make("div", { class: "legend" }, make("span", {}, `J = ${format(high)}`), scale, make("span", {}, `J = ${format(low)}`),
          make("p", {}, `○ ${T("watch.here")}${T("colon")}J = ${middle}`))));
  }

  // News come as a script beside the page, which also a page opened from a file may read; without it there are none
  window.watching = (news) => { data = news; render(); };
  function ask() {
    const script = make("script", { src: `${encodeURIComponent(page.feed)}?${Date.now()}`,
      onload: () => { script.remove(); if (data.state === "training") setTimeout(ask, 1000); },
      onerror: () => { sessionStorage.setItem("asked", "again"); location.reload(); } });
    document.head.append(script);
  }

  tools.frame(render);
  if (data.state === "training" && !sessionStorage.getItem("asked")) ask();
  sessionStorage.removeItem("asked");
})();
