// One lesson: an explanation, where its reader stands, and what was changed.
"use strict";

const EDITABLE = ["input", "weight", "target"], SMALL = 64, PACE = 2500;  // milliseconds a step

class Lesson {
  constructor(board, section) {
    this.board = board;
    this.section = section;
    board.byId = Object.fromEntries(board.quantities.map((q) => [q.id, q]));
    for (const q of board.quantities) { q.values = unpacked(q.values); q.gradient = unpacked(q.gradient); }
    for (const turn of board.backward) {
      turn.sent = unpacked(turn.sent) ?? board.byId[turn.operand].gradient;
      turn.total = unpacked(turn.total) ?? board.byId[turn.operand].gradient;
    }
    for (const revision of board.update) {
      for (const slot of Object.keys(revision.state)) revision.state[slot] = unpacked(revision.state[slot]);
      for (const one of revision.assignments) one.after = unpacked(one.after);
    }
    this.changed = {};
    this.numbers = {};
    this.chosen = {};
    this.steps = [
      ...board.forward.map((step) => ({ phase: "forward", step })),
      ...board.backward.map((turn) => ({ phase: "backward", step: turn })),
      ...board.update.map((revision) => ({ phase: "update", step: revision })),
    ];
    this.at = Math.min(1, this.steps.length);
    this.found = null;
    this.timer = 0;
  }

  value(id) {
    return this.found ? this.found.values[id] : this.board.byId[id].values;
  }

  gradient(id) {
    if (this.found) return this.found.gradients[id] ?? null;
    return this.board.byId[id].gradient;
  }

  sent(n) {
    return this.found ? this.found.sent[n] : this.board.backward[n].sent;
  }

  // Whether a value, or a gradient, has been computed where the reader stands
  hasValue(id) {
    const made = this.board.forward.findIndex((step) => step.result === id);
    return made < 0 || made < this.at;
  }

  gradientAt(id) {
    const turns = this.board.backward.map((turn, n) => [turn, n]).filter(([turn]) => turn.operand === id);
    return turns.length ? this.board.forward.length + turns.at(-1)[1] + 1 : -1;
  }

  place(id) {
    return this.chosen[id] ?? this.board.byId[id].place;
  }

  change(id, at, value) {
    const data = (this.changed[id] ?? this.board.byId[id].values.map(number)).slice();
    data[at] = value;
    this.changed[id] = data;
    this.recompute();
  }

  recompute() {
    this.found = blackboard.recompute(this.board, this.changed, this.numbers);
    this.refresh();
  }

  reset() {
    this.changed = {};
    this.numbers = {};
    this.found = null;
    this.render();
  }

  // What stands behind data-at in the written equations
  lookup(context, name, at) {
    const { board } = this;
    if (name.startsWith("∇")) return this.gradient(name.slice(1))?.[at];
    if (name in board.byId) return this.value(name)[at];
    if (context?.scope) {
      const slot = name.replace(/\(.*/, "");
      if (slot in context.scope) return context.scope[slot][at];
      if (slot in this.numbers) return this.numbers[slot];
    }
    return undefined;
  }

  fill(holder, context) {
    if (!this.found) return;
    for (const element of holder.querySelectorAll("[data-at]")) {
      const [, name, at] = element.getAttribute("data-at").match(/^(.*):(\d+)$/);
      const value = this.lookup(context, name, Number(at));
      if (value !== undefined) element.textContent = format(value);
    }
  }

  // Drawing

  render() {
    const { board, section } = this;
    section.replaceChildren();
    const title = board.title in page.titles ? said(page.titles[board.title]) : board.title;
    section.append(make("h2", { class: title === said(page.heading) ? "unseen" : null }, title));
    if (board.notFinite) {
      const [name, place, value] = board.notFinite;
      section.append(make("p", { class: "banner bad", role: "alert" }, T("not_finite", { name, place: `[${place}]`, value: format(value) })));
    }
    if (board.kind === "model") section.append(make("p", { class: "quiet" }, T("rows")));
    if (board.step) section.append(make("p", { class: "quiet" }, T("after_steps", { count: board.step })));
    const steps = make("div", { class: "steps" }), given = make("div", { class: "given" });
    section.append(this.bar(), make("div", { class: "work" }, this.graph(), steps));
    this.matrices = [];
    for (const q of board.quantities) if (["input", "target", ...(board.changeable ? ["weight", "constant"] : [])].includes(q.role)) given.append(this.matrix(q, "value"));
    steps.append(make("h3", { class: "phase" }, T("values")), make("p", { class: "quiet" }, T(board.changeable ? "change_them" : "view_only")), given);
    if (!board.changeable) steps.append(this.weights());
    this.articles = [];
    let phase = "";
    this.steps.forEach((entry, n) => {
      if (entry.phase !== phase) steps.append(make("h3", { class: "phase" }, T(entry.phase)));
      phase = entry.phase;
      const article = this.article(entry, n);
      this.articles.push(article);
      steps.append(article);
    });
    if (board.groups.length) steps.append(this.groups());
    this.go(this.at, false);
    this.refresh();
  }

  // Weights that only can be looked at, drawn when they are
  weights() {
    const found = this.board.quantities.filter((q) => ["weight", "constant"].includes(q.role));
    const details = make("details", {}, make("summary", {}, `${T("watch.weights")}${T("colon")}${found.map((q) => q.name).join(", ")}`));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length < 2) details.append(make("div", { class: "given" }, ...found.map((q) => this.matrix(q, "value"))));
    });
    return found.length ? details : "";
  }

  bar() {
    const last = this.steps.length;
    const press = (text, key, act) => make("button", { type: "button", "aria-label": T(key), title: T(key), class: key, onclick: act }, text);
    this.slider = make("input", { type: "range", min: 0, max: last, value: this.at, "aria-label": T("step"),
      oninput: (event) => this.step(Number(event.target.value)) });
    this.where = make("span", { class: "where", role: "status" });
    this.player = press("", "play", () => this.play());
    const bar = make("div", { class: "bar controls" }, make("div", {},
      press("«", "first", () => this.step(0)), press("‹", "previous", () => this.step(this.at - 1)), this.player,
      press("›", "next", () => this.step(this.at + 1)), press("»", "last", () => this.step(last)), this.slider, this.where,
      this.board.changeable ? press("↺", "reset", () => this.reset()) : null));
    this.play(false);
    return bar;
  }

  // Goes on by itself, from the beginning where it is at the end, until its reader takes a step
  play(on = !this.timer) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => { this.go(this.at + 1); if (this.at === this.steps.length) this.play(false); }, PACE) : 0;
    this.player.textContent = on ? "❚❚" : "▶\ufe0e";
    for (const name of ["aria-label", "title"]) this.player.setAttribute(name, T(on ? "pause" : "play"));
    if (on) this.go(this.at === this.steps.length ? 1 : this.at);
  }

  step(to) {
    this.play(false);
    this.go(to);
  }

  go(to, scroll = true) {
    this.at = Math.max(0, Math.min(this.steps.length, to));
    this.slider.value = this.at;
    const entry = this.steps[this.at - 1];
    this.where.replaceChildren(...(entry ? [`${this.at} / ${this.steps.length}`, make("span", {}, ` · ${T(entry.phase)}`)] : [T("nothing_yet")]));
    this.articles.forEach((article, n) => {
      article.classList.toggle("later", n >= this.at);
      article.classList.toggle("now", n === this.at - 1);
    });
    if (scroll && entry) this.articles[this.at - 1].scrollIntoView({ block: "start" });
    this.light();
  }

  article({ phase, step }, n) {
    const { board } = this;
    const q = board.byId[phase === "forward" ? step.result : phase === "backward" ? step.operand : step.quantity];
    const head = make("div", { class: "head" }, ...step.numbers.map((d) => make("span", { class: "d" }, d)));
    const titleText = phase === "update" ? q.name : `${step.number} · `;
    const title = make("h4", { style: "margin:0;font-weight:600" }, titleText);
    if (phase !== "update") title.append(mathematics(symbolMath(q, phase === "backward")), ` · ${step.primitive}`);
    head.append(title);
    if (phase === "forward") head.append(make("span", { class: "quiet" }, `${q.layer ? `${T("layer")} ${q.layer} · ` : ""}${step.source}`));
    const article = make("article", { class: phase, "data-n": n + 1, "data-id": q.id });
    article.addEventListener("mouseenter", () => this.nodes[q.id]?.classList.add("now"));
    article.addEventListener("mouseleave", () => this.nodes[q.id]?.classList.remove("now"));
    const left = make("div"), right = make("div");
    const body = make("div", { class: "body" }, make("div", { class: "columns" }, left, right));
    article.append(head, make("p", { class: "notyet" }, T("not_computed")), body);
    if (phase === "update") article.refresh = this.updateBody(step, q, left, right);
    else {
      left.append(equation(T("equation"), mathematics(step.equation)));
      const written = make("div", { class: "equation", tabindex: 0 });
      left.append(written);
      const extra = make("div");
      left.append(extra);
      right.append(this.matrix(q, phase === "forward" ? "value" : "gradient", phase === "backward" ? n - board.forward.length : null));
      article.refresh = () => this.refreshStep(phase, step, n, q, written, extra);
    }
    const first = step.numbers.filter((d) => board.documents[d].at === n);
    if (first.length) article.append(documents(first, board.documents));
    return article;
  }

  refreshStep(phase, step, n, q, written, extra) {
    const { board } = this, m = n - board.forward.length;
    const at = this.place(q.id), place = placeText(at, q.shape);
    const put = step.put[at] ?? null;
    const result = phase === "forward" ? this.value(q.id)[at] : this.sent(m)[at];
    written.replaceChildren(make("span", { class: "label" }, T("with_values")));
    const element = symbolMath(q, phase === "backward", place);
    const total = `<mn data-result="1">${format(number(result))}</mn>`;
    const math = mathematics(`<mrow>${element}<mo>=</mo>${put ? `${put}<mo>=</mo>` : ""}${total}</mrow>`);
    this.fill(math, null);
    written.append(math);
    extra.replaceChildren();
    if (phase !== "backward") return;
    const terms = this.terms(m, at);
    if (terms) {
      const out = board.byId[step.result];
      const rows = terms.map(([o, ...numbers]) => [`${out.name}${out.shape.length ? `[${placeText(o, out.shape)}]` : ""}`, ...numbers.map((x) => format(x))]);
      extra.append(make("div", { class: "scroll", tabindex: 0 },
        grid(["", T("local"), T("incoming"), T("product")], rows, { caption: `${T("local")} × ${T("incoming")} = ${T("product")}` })));
    }
    if (step.turns > 1) extra.append(make("p", {}, T("term", { turn: step.turn, turns: step.turns, value: q.name })));
    if (step.turn === step.turns) this.numericalText(q, at, extra);
  }

  // The chain rule for one element: what each element of the result adds
  terms(m, at) {
    const turn = this.board.backward[m];
    if (!this.found) return turn.terms[at] ?? null;
    const incoming = this.found.gradients[turn.result], rows = [];
    if (incoming.length > SMALL) return null;
    incoming.forEach((gy, o) => {
      const local = blackboard.sendBack(this.board, turn, this.found.values, incoming.map((_, i) => Number(i === o)))[at];
      if (local) rows.push([o, local, gy, local * gy]);
    });
    return rows.slice(0, 6);
  }

  numericalText(q, at, holder) {
    let taken = q.numerical[at];
    const gradient = this.gradient(q.id)?.[at];
    if (this.found) {
      if (!EDITABLE.includes(q.role) || q.role === "target") return;
      const h = 1e-5, here = this.found.values[q.id];
      const loss = (d) => {
        const moved = here.slice();
        moved[at] += d;
        return blackboard.recompute({ ...this.board, backward: [], update: [] }, { ...this.changed, [q.id]: moved }).loss;
      };
      taken = [(loss(h) - loss(-h)) / (2 * h), false];
    }
    if (!taken) return;
    const near = Math.abs(taken[0] - gradient) <= 1e-5 * Math.max(1e-3, Math.abs(gradient));
    const agrees = this.found ? near : q.agrees !== false;
    const [kind, word] = taken[1] ? ["quiet", T("kink")] : agrees ? ["good", T("agree")] : ["bad", T("disagree")];
    holder.append(make("p", {}, `${T("numerical")}${T("colon")}${format(taken[0], 9)} · `, make("span", { class: kind }, word)));
  }

  // What stands there of an update; returns what writes its numbers
  updateBody(revision, q, left, right) {
    left.append(make("p", { class: "quiet" }, T("updated_by", { name: this.board.optimizer, numbers: this.board.numbers })));
    const rate = this.numbers.learning_rate ?? revision.parameters.learning_rate;
    if (this.board.changeable && revision === this.board.update[0]) {
      left.append(rateField(`${T("learning_rate")} α`, rate, (value) => { this.numbers.learning_rate = value; this.recompute(); }));
    }
    const lines = revision.assignments.map((one) => {
      left.append(equation(T("equation"), mathematics(one.equation)));
      const line = make("div", { class: "equation", tabindex: 0 });
      left.append(line);
      return line;
    });
    const after = make("div");
    right.append(after);
    return () => {
      const at = this.place(q.id), updated = this.found?.updated[q.id], scope = { ...revision.state };
      revision.assignments.forEach((one, i) => {
        this.assignment(one, lines[i], q, at, updated && { scope: { ...scope } }, updated ? updated[one.target][at] : one.after[at]);
        if (updated) scope[one.target] = updated[one.target];
      });
      const data = updated ? updated.theta : revision.assignments.findLast((one) => one.target === "theta").after;
      after.replaceChildren(this.table(q, data, `${q.name} ←`, false));
    };
  }

  assignment(one, line, q, at, context, result) {
    const put = one.put[at];
    const place = placeText(at, q.shape);
    const name = symbolMath(one, false, place);
    const math = mathematics(`<mrow>${name}<mo>=</mo>${put ? `${put}<mo>=</mo>` : ""}<mn>${format(number(result))}</mn></mrow>`);
    this.fill(math, context);
    line.replaceChildren(make("span", { class: "label" }, T("with_values")), math);
  }

  refresh() {
    for (const holder of this.matrices) holder.refresh();
    for (const article of this.articles) article.refresh?.();
    this.light();
    this.changes?.();
  }
}
