// The graph of the computation.
"use strict";

// A part of a drawing as a button, for the mouse and the keyboard
function whenPressed(node, act) {
  node.addEventListener("click", act);
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  });
}

Object.assign(Lesson.prototype, {
  graph() {
    const { board } = this;
    const holder = make("div", { class: "graph", role: "group", tabindex: 0, "aria-label": T("graph") });
    if (board.groups.length) {
      holder.append(this.groupGraph());
      return holder;
    }
    const depth = {};
    for (const q of board.quantities) depth[q.id] = 0;
    for (const step of board.forward) {
      depth[step.result] = 1 + Math.max(0, ...step.operands.filter(([, id]) => id).map(([, id]) => depth[id]));
    }
    for (const q of board.quantities) {  // what is given stands beside its first use
      if (board.forward.some((step) => step.result === q.id)) continue;
      const used = board.forward.filter((step) => step.operands.some(([, id]) => id === q.id)).map((step) => depth[step.result]);
      depth[q.id] = Math.max(0, Math.min(...used) - 1);
    }
    const columns = [];
    for (const q of board.quantities) (columns[depth[q.id]] ??= []).push(q);
    const tall = Math.max(...columns.map((c) => c?.length ?? 0)), wide = columns.length;
    const spot = {};
    const W = 104, H = 58;
    columns.forEach((column, x) => column?.forEach((q, y) => { spot[q.id] = [x * W + 55, (y + 0.5 + (tall - column.length) / 2) * H + 8]; }));
    const svg = draw("svg", { width: wide * W + 90, height: tall * H + 16, viewBox: `-40 0 ${wide * W + 90} ${tall * H + 16}`, role: "group", "aria-label": T("graph") });
    this.edges = [];
    for (const [n, step] of board.forward.entries()) {
      const [x2, y2] = spot[step.result];
      for (const [, id] of step.operands) {
        if (!id) continue;
        const [x1, y1] = spot[id];
        const path = draw("path", { class: "edge", d: `M${x1 + 26} ${y1} C${x1 + 60} ${y1} ${x2 - 60} ${y2} ${x2 - 26} ${y2}` });
        this.edges.push([path, n, id]);
        svg.append(path);
      }
    }
    this.nodes = {};
    for (const q of board.quantities) {
      const [x, y] = spot[q.id];
      const step = board.forward.find((s) => s.result === q.id);
      const told = step ? `${symbol(q)} = ${step.primitive}` : symbol(q);
      const node = draw("g", { class: "node", "data-id": q.id, tabindex: 0, role: "button", "aria-label": `${told} ${q.shape.join(" × ")}` }, draw("title", {}, `${told} ${q.shape.join(" × ")}`),
        draw("rect", { x: x - 26, y: y - 16, width: 52, height: 32, rx: 8 }), Object.assign(draw("text", { x, y }), { textContent: symbol(q) }));
      if (step) node.append(Object.assign(draw("text", { x, y: y + 25, class: "op" }), { textContent: step.primitive }));
      for (const event of ["mouseenter", "focus"]) node.addEventListener(event, () => this.highlight(q.id, true));
      for (const event of ["mouseleave", "blur"]) node.addEventListener(event, () => this.highlight(q.id, false));
      whenPressed(node, () => this.show(q.id));
      this.nodes[q.id] = node;
      svg.append(node);
    }
    holder.append(svg);
    return holder;
  },

  // The articles and nodes of a quantity point at one another
  highlight(id, on) {
    this.steps.forEach(({ step }, n) => {
      if ([step.result, step.operand, step.quantity].includes(id)) this.articles[n].classList.toggle("lit", on);
    });
    this.nodes?.[id]?.classList.toggle("now", on);
  },

  show(id) {
    const n = this.steps.findIndex(({ step, phase }) => (phase === "forward" ? step.result : step.operand) === id);
    if (n >= 0) this.articles[n].scrollIntoView({ block: "center" });
  },

  light() {
    if (!this.nodes) return;
    const F = this.board.forward.length, here = this.articles[this.at - 1]?.dataset.id;
    for (const [id, node] of Object.entries(this.nodes)) {
      const back = this.gradientAt(id);
      node.classList.toggle("here", id === here);
      node.classList.toggle("done", this.hasValue(id));
      node.classList.toggle("back", back > 0 && back <= this.at);
    }
    for (const [path, n, id] of this.edges) {
      path.classList.toggle("done", n < this.at);
      path.classList.toggle("back", this.board.backward.some((turn, m) => turn.step === n && turn.operand === id && F + m < this.at));
    }
  },

  // A long computation: one node for each layer or run of steps, which opens it
  groupGraph() {
    const W = 150, H = 90, { groups } = this.board;
    const svg = draw("svg", { width: groups.length * W, height: H, viewBox: `0 0 ${groups.length * W} ${H}`, role: "group", "aria-label": T("graph") });
    groups.forEach((group, i) => {
      const x = i * W + W / 2, name = this.groupName(group);
      if (i) svg.append(draw("path", { class: "edge done", d: `M${x - W + 60} 34H${x - 60}` }));
      const most = this.applied(group, 2);
      const node = draw("g", { class: "node done", tabindex: 0, role: "button", "aria-label": `${name}: ${most}` }, draw("title", {}, most),
        draw("rect", { x: x - 60, y: 16, width: 120, height: 36, rx: 8 }), Object.assign(draw("text", { x, y: 34, class: "op" }), { textContent: name }),
        Object.assign(draw("text", { x, y: 66, class: "op" }), { textContent: most.length > 24 ? `${most.slice(0, 23)}…` : most }));
      whenPressed(node, () => {
        const details = this.section.querySelectorAll("details.steps")[i];
        details.open = true;
        details.scrollIntoView({ block: "start" });
        details.querySelector("summary").focus();
      });
      svg.append(node);
    });
    return svg;
  },

  groupName(group) {
    return `${group.layer ? `${group.layer} · ` : ""}${group.first === group.last ? group.first : `${group.first}–${group.last}`}`;
  },

  // What is applied most often in it
  applied(group, most = group.primitives.length) {
    return group.primitives.slice(0, most).map(([primitive, count]) => `${primitive} × ${count}`).join(", ");
  },

  // All steps, a line each, which are written when their group is opened
  groups() {
    const { board } = this;
    const holder = make("div", {}, make("h3", { class: "phase" }, T("all_steps")),
      make("p", { class: "quiet" }, T("many_steps", { count: board.counts[0], shown: board.forward.length })));
    for (const group of board.groups) {
      const details = make("details", { class: "steps" }, make("summary", {}, this.groupName(group), make("span", { class: "quiet" }, ` · ${this.applied(group)}`)));
      details.addEventListener("toggle", () => { if (details.open && details.children.length < 2) details.append(this.lines(group)); });
      holder.append(details);
    }
    return holder;
  },

  lines(group) {
    const told = (shape, found) => {
      if (!found) return T("not_computed");
      const few = shape.reduce((a, b) => a * b, 1) <= 4;
      return few ? found.map((x) => format(number(x))).join(", ") : T("spread", { low: format(number(found[0])), mean: format(number(found[1])), high: format(number(found[2])) });
    };
    const rows = group.steps.map(([equation, shape, value, gradient], i) =>
      make("tr", {}, ...[group.first + i, equation, shape.join(" × "), told(shape, value), gradient ? told(shape, gradient) : "–"].map((cell, k) => make("td", k < 2 ? { class: "left" } : {}, String(cell)))));
    const head = ["step", "equation", "shape", "result", "gradient"].map((key, k) => make("th", { scope: "col", class: k < 2 ? "left" : null }, T(key)));
    return make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": this.groupName(group) }, make("table", { class: "grid" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  },
});
