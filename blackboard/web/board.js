// The page: steps forward and backward through each lesson, and lets values be changed.
"use strict";

(() => {
  // Adam as documented beside Adam with its bias corrected

  function adam(section) {
    section.replaceChildren(make("h2", {}, said(page.titles.adam)));
    const documents = make("div", { class: "documents" });
    for (const d of ["D4", "D5", "D6"]) {
      const entry = page.documented[d];
      for (const [key, label] of [["documented", "documented"], ["exact", "exact"]]) {
        documents.append(make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, `${d} · ${T(label)}`), mathematics(entry[key])));
      }
      if (said(entry.missing)) documents.append(make("p", { class: "quiet" }, `${T("missing")}: ${said(entry.missing)}`));
    }
    const rows = page.adam;
    const head = ["t", "m", "v", "Δ, D6", `Δ, ${T("adam.corrected")}`, T("adam.ratio"), "J, D6", `J, ${T("adam.corrected")}`];
    const table = make("table", { class: "grid" }, make("caption", { class: "quiet" }, said(page.titles.adam)),
      make("thead", {}, make("tr", {}, ...head.map((t) => make("th", { scope: "col" }, t)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((x, i) => make("td", {}, i ? format(x, 4) : String(x)))))));
    section.append(documents, make("p", {}, T("adam.reason")), chart(rows),
      make("div", { class: "scroll", tabindex: 0 }, table));
  }

  function chart(rows) {
    const W = 640, H = 260, left = 60, bottom = 36, top = 16;
    const high = Math.max(...rows.map((r) => Math.max(-r[3], -r[4])));
    const x = (t) => left + ((t - 1) * (W - left - 130)) / (rows.length - 1);
    const y = (v) => H - bottom - ((H - bottom - top) * v) / high;
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": `${said(page.titles.adam)}: |Δ|` });
    svg.append(draw("path", { class: "axis", fill: "none", d: `M${left} ${top} V${H - bottom} H${W - 130}` }));
    for (let i = 0; i <= 3; i++) svg.append(Object.assign(draw("text", { x: left - 6, y: y((high * i) / 3) + 4, "text-anchor": "end" }), { textContent: format((high * i) / 3, 2) }));
    rows.forEach((r) => svg.append(Object.assign(draw("text", { x: x(r[0]), y: H - bottom + 18, "text-anchor": "middle" }), { textContent: String(r[0]) })));
    svg.append(Object.assign(draw("text", { x: left, y: 12, "text-anchor": "start" }), { textContent: "|Δθ|" }));
    [[3, "var(--backward)", "D6"], [4, "var(--forward)", T("adam.corrected")]].forEach(([column, colour, label]) => {
      svg.append(draw("polyline", { fill: "none", style: `stroke:${colour}`, "stroke-width": 2.5, points: rows.map((r) => `${x(r[0])},${y(-r[column])}`).join(" ") }));
      rows.forEach((r) => svg.append(draw("circle", { cx: x(r[0]), cy: y(-r[column]), r: 3.5, style: `fill:${colour}` })));
      svg.append(Object.assign(draw("text", { x: W - 122, y: y(-rows.at(-1)[column]) + 4, style: `fill:${colour}` }), { textContent: label }));
    });
    return svg;
  }

  function overview(section) {
    section.replaceChildren(make("h2", {}, T("title.documented")));
    for (const d of page.overview) {
      const entry = page.documented[d];
      const article = make("article", {}, make("div", { class: "head" }, make("span", { class: "d" }, d), make("h3", {}, said(entry.title))),
        make("div", { class: "documents", style: "border:0" },
          make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, T("documented")), mathematics(entry.documented)),
          make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, T("exact")), mathematics(entry.exact)),
          said(entry.missing) ? make("p", { class: "quiet" }, `${T("missing")}: ${said(entry.missing)}`) : null));
      section.append(article);
    }
  }

  // The page

  const lessons = page.boards.map((board, i) => new Lesson(board, document.getElementById(`lesson-${i}`)));
  function render() {
    document.getElementById("keys").textContent = T("keys");
    if (page.overview.length) overview(document.getElementById("overview"));
    for (const lesson of lessons) lesson.render();
    if (page.adam) adam(document.getElementById("adam"));
  }

  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const lesson = lessons.find((l) => l.section.contains(event.target)) ?? lessons[0];
    const to = { ArrowRight: lesson.at + 1, ArrowLeft: lesson.at - 1, Home: 0, End: lesson.steps.length }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    lesson.go(to);
  });
  window.lessons = lessons;  // for whoever looks at the page with the browser's tools
  tools.frame(render);
})();
