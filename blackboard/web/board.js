// The page: its lessons, the documented equations that no step of them shows, and the two Adams.
"use strict";

(() => {
  const lessons = page.boards.map((board, i) => new Lesson(board, document.getElementById(`lesson-${i}`)));

  // Adam as documented beside Adam with its bias corrected: updates of the first lesson, from its numbers as they stand

  let rate = page.adam?.rate;

  function adamRows() {
    const [lesson] = lessons, { weight, place, rows, updates } = page.adam;
    if (!lesson.found && rate === page.adam.rate) return rows;
    const runs = updates.map((update) => {
      let values = lesson.changed, revisions = update;
      return rows.map((_, n) => {
        const { loss, updated } = blackboard.recompute({ ...lesson.board, update: revisions }, values, { t: n + 1, learning_rate: rate });
        const own = updated[weight], before = values[weight] ?? lesson.board.byId[weight].values;
        revisions = revisions.map((r) => ({ ...r, state: Object.fromEntries(Object.keys(r.state).map((slot) => [slot, updated[r.quantity][slot]])) }));
        values = { ...values, ...Object.fromEntries(revisions.map((r) => [r.quantity, updated[r.quantity].theta])) };
        return { m: own.m[place], v: own.v[place], change: own.theta[place] - before[place], loss };
      });
    });
    return rows.map((_, n) => {
      const [a, b] = runs.map((run) => run[n]);
      return [n + 1, a.m, a.v, a.change, b.change, a.change / b.change, a.loss, b.loss];
    });
  }

  function adam(section) {
    const corrected = T("adam.corrected"), plot = make("div"), table = make("div", { class: "scroll", tabindex: 0 });
    const head = ["t", "m", "v", "Δ, D6", `Δ, ${corrected}`, T("adam.ratio"), "J, D6", `J, ${corrected}`];
    const refresh = () => {
      const rows = adamRows(), sizes = (column) => rows.map((row) => Math.abs(row[column]));
      const series = [{ name: "D6", values: sizes(3), colour: "backward" }, { name: corrected, values: sizes(4), colour: "forward" }];
      plot.replaceChildren(make("h3", {}, `|Δ${lessons[0].board.byId[page.adam.weight].name}|`), plots.curves(`${said(page.titles.adam)}: |Δ|`, rows.map(([t]) => t), series, { along: "t" }));
      table.replaceChildren(grid(head, rows.map((row) => row.map((x, i) => (i ? format(x) : x)))));
    };
    section.replaceChildren(make("h2", {}, said(page.titles.adam)), documents(["D4", "D5", "D6"]), make("p", {}, T("adam.reason")),
      rateField("Adam, α", rate, (value) => { rate = value; refresh(); }), make("div", { class: "side" }, plot, table));
    lessons[0].changes = refresh;
    refresh();
  }

  function overview(section) {
    section.replaceChildren(make("h2", {}, T("title.documented")), make("div", { class: "side" }, ...page.overview.map((d) =>
      make("article", {}, make("div", { class: "head" }, make("span", { class: "d" }, d), make("h3", {}, said(page.documented[d].title))), documents([d])))));
  }

  function render() {
    document.getElementById("keys").textContent = T("keys");
    if (page.overview.length) overview(document.getElementById("overview"));
    for (const lesson of lessons) lesson.render();
    if (page.adam) adam(document.getElementById("adam"));
  }

  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const lesson = lessons.find((l) => l.section.contains(event.target)) ?? lessons[0];
    if (event.key === "p") return lesson.play();
    const to = { ArrowRight: lesson.at + 1, ArrowLeft: lesson.at - 1, Home: 0, End: lesson.steps.length }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    lesson.step(to);
  });
  window.lessons = lessons;  // for whoever looks at the page with the browser's tools
  tools.frame(render);
})();
