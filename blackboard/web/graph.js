// The graph of the computation.
"use strict";

Object.assign(Lesson.prototype, {
  graph() {
    const { board } = this;
    const holder = make("div", { class: "graph", role: "group", tabindex: 0, "aria-label": T("graph") });
    if (board.quantities.length > 80) {
      holder.append(make("p", { class: "quiet" }, T("graph_too_large", { count: board.counts[0] })));
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
    const svg = draw("svg", { width: wide * W + 10, height: tall * H + 16, viewBox: `0 0 ${wide * W + 10} ${tall * H + 16}`, role: "img", "aria-label": T("graph") });
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
      const node = draw("g", { class: "node", "data-id": q.id }, draw("title", {}, `${symbol(q)} ${q.shape.join(" × ")}${step ? ` = ${step.primitive}` : ""}`),
        draw("rect", { x: x - 26, y: y - 16, width: 52, height: 32, rx: 8 }), Object.assign(draw("text", { x, y }), { textContent: symbol(q) }));
      if (step) node.append(Object.assign(draw("text", { x, y: y + 25, class: "op" }), { textContent: step.primitive }));
      node.addEventListener("mouseenter", () => this.highlight(q.id, true));
      node.addEventListener("mouseleave", () => this.highlight(q.id, false));
      node.addEventListener("click", () => this.show(q.id));
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
    const F = this.board.forward.length;
    for (const [id, node] of Object.entries(this.nodes)) {
      const back = this.gradientAt(id);
      node.classList.toggle("done", this.hasValue(id));
      node.classList.toggle("back", back > 0 && back <= this.at);
    }
    for (const [path, n, id] of this.edges) {
      path.classList.toggle("done", n < this.at);
      path.classList.toggle("back", this.board.backward.some((turn, m) => turn.step === n && turn.operand === id && F + m < this.at));
    }
  },

});
