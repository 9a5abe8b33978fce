// The graph of the computation, from top to bottom: a button for each quantity, with its value and its gradient.
"use strict";

Object.assign(Lesson.prototype, {
  graph() {
    this.panel = make("div", { class: "graph", role: "group", "aria-label": T("graph") });
    this.nodes = {};
    this.edges = [];
    this.panel.append(this.board.groups.length ? this.groupGraph() : this.quantityGraph());
    return this.panel;
  },

  // On which line each quantity stands: below what it is computed from; what is given stands above its first use
  lines() {
    const { forward, quantities } = this.board, depth = {};
    for (const q of quantities) depth[q.id] = 0;
    for (const step of forward) depth[step.result] = 1 + Math.max(0, ...step.operands.filter(([, id]) => id).map(([, id]) => depth[id]));
    const made = new Set(forward.map((step) => step.result)), lines = [];
    for (const q of quantities) {
      if (!made.has(q.id)) depth[q.id] = Math.max(0, Math.min(...forward.filter((s) => s.operands.some(([, id]) => id === q.id)).map((s) => depth[s.result])) - 1);
      (lines[depth[q.id]] ??= []).push(q);
    }
    return lines;
  },

  quantityGraph() {
    const W = 114, H = 98, TALL = 72, lines = this.lines(), spot = {};
    const wide = Math.max(...lines.map((line) => line.length)) * W;
    lines.forEach((line, y) => line.forEach((q, x) => { spot[q.id] = [(x + 0.5) * W + (wide - line.length * W) / 2, y * H]; }));
    const svg = draw("svg", { width: wide, height: lines.length * H, "aria-hidden": "true" });
    const holder = make("div", { class: "nodes", style: `width:${wide}px;height:${lines.length * H - 20}px` }, svg);
    this.board.forward.forEach((step, n) => {
      const [x2, y2] = spot[step.result];
      for (const [, id] of step.operands.filter(([, id]) => id)) {
        const [x1, y1] = spot[id], from = y1 + TALL;
        const path = draw("path", { class: "edge", d: `M${x1} ${from} C${x1} ${from + 22} ${x2} ${y2 - 22} ${x2} ${y2}` });
        this.edges.push([path, n, id]);
        svg.append(path);
      }
    });
    for (const q of this.board.quantities) {
      const step = this.board.forward.find((s) => s.result === q.id), told = step ? `${q.name} = ${step.primitive}` : q.name;
      const node = make("button", { type: "button", class: "node", "data-id": q.id, title: `${told} ${q.shape.join(" × ")}`,
        style: `left:${spot[q.id][0] - 53}px;top:${spot[q.id][1]}px`, onclick: () => this.step(this.stepOf(q.id)) },
        make("span", {}, mathematics(symbolMath(q)), make("small", {}, ` ${step?.primitive ?? ""}`)), make("span", { class: "value" }), make("span", { class: "gradient" }));
      for (const event of ["mouseenter", "focus"]) node.addEventListener(event, () => this.highlight(q.id, true));
      for (const event of ["mouseleave", "blur"]) node.addEventListener(event, () => this.highlight(q.id, false));
      this.nodes[q.id] = node;
      holder.append(node);
    }
    return holder;
  },

  // Where a press on a node goes: on the way forward to the step of its value, later to that of its gradient
  stepOf(id) {
    const { forward } = this.board;
    const made = forward.findIndex((step) => step.result === id) + 1, gradient = this.gradientAt(id);
    if ((this.at > forward.length || this.at === made) && gradient > 0) return gradient;
    return made || forward.findIndex((step) => step.operands.some(([, other]) => other === id)) + 1;
  },

  // The articles and nodes of a quantity point at one another
  highlight(id, on) {
    this.steps.forEach(({ step }, n) => {
      if ([step.result, step.operand, step.quantity].includes(id)) this.articles[n].classList.toggle("lit", on);
    });
    this.nodes[id]?.classList.toggle("now", on);
  },

  // The graph as far as its reader has come
  light() {
    const F = this.board.forward.length, here = this.nodes[this.articles[this.at - 1]?.dataset.id];
    for (const [id, node] of Object.entries(this.nodes)) {
      const q = this.board.byId[id], back = this.gradientAt(id), sent = back > 0 && back <= this.at, done = this.hasValue(id);
      node.classList.toggle("here", node === here);
      if (node === here) node.setAttribute("aria-current", "step");
      else node.removeAttribute("aria-current");
      node.classList.toggle("done", done);
      node.classList.toggle("back", sent);
      node.children[1].replaceChildren(done ? this.brief(q, this.value(id)) : "");
      node.children[2].replaceChildren(...(sent ? ["∂ ", this.brief(q, this.gradient(id), 78)] : []));
    }
    for (const [path, n, id] of this.edges) {
      path.classList.toggle("done", n < this.at);
      path.classList.toggle("back", this.board.backward.some((turn, m) => turn.step === n && turn.operand === id && F + m < this.at));
    }
    if (here) this.panel.scrollTo(here.offsetLeft + 53 - this.panel.clientWidth / 2, here.offsetTop + 36 - this.panel.clientHeight / 2);
  },

  // An array in the room of a few figures
  brief(q, data, wide = 94) {
    if (data.length > 3 && q.tiles) return this.picture(q, data, wide, 20, 4);
    return [...Array(data.length).keys()].map((i) => format(number(data[i]), data.length > 1 ? 2 : 4)).join("  ");
  },

  // A long computation: a button for each layer or run of steps, which opens it
  groupGraph() {
    return make("div", { class: "runs" }, ...this.board.groups.map((group, i) => {
      const name = this.groupName(group), most = this.applied(group, 2);
      return make("button", { type: "button", class: "node done", title: `${name}: ${most}`, onclick: () => {
        const details = this.section.querySelectorAll("details.steps")[i];
        details.open = true;
        details.scrollIntoView({ block: "start" });
        details.querySelector("summary").focus();
      } }, make("span", {}, name), make("small", {}, most));
    }));
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
      details.addEventListener("toggle", () => { if (details.open && details.children.length < 2) details.append(this.stepLines(group)); });
      holder.append(details);
    }
    return holder;
  },

  stepLines(group) {
    const told = (shape, found) => {
      if (!found) return T("not_computed");
      const few = shape.reduce((a, b) => a * b, 1) <= 4;
      return few ? found.map((x) => format(number(x))).join(", ") : T("spread", { low: format(number(found[0])), mean: format(number(found[1])), high: format(number(found[2])) });
    };
    const rows = group.steps.map(([equation, shape, value, gradient], i) =>
      [group.first + i, equation, shape.join(" × "), told(shape, value), gradient ? told(shape, gradient) : "–"]);
    const head = ["step", "equation", "shape", "result", "gradient"].map((key) => T(key));
    return make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": this.groupName(group) }, grid(head, rows, { left: 2 }));
  },
});
