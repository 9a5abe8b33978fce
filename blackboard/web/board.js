// The page: steps forward and backward through each lesson, and lets values be changed.
"use strict";

(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  let lang = page.lang;
  const T = (key, values = {}) =>
    page.texts[key][lang].replace(/\{(\w+)\}/g, (_, name) => (name in values ? values[name] : `{${name}}`));
  const EDITABLE = ["input", "weight", "target"], SMALL = 64;
  const MATH = "http://www.w3.org/1998/Math/MathML", SVG = "http://www.w3.org/2000/svg";

  // Small tools

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((c) => c !== null && c !== undefined));
    return element;
  }

  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  // MathML written by the engine's own notation
  function mathematics(written) {
    const holder = make("span", { class: "math" });
    holder.innerHTML = `<math xmlns="${MATH}">${written}</math>`;
    for (const word of holder.querySelectorAll("[data-word]")) word.textContent = T(word.dataset.word) + "\u00a0";
    return holder;
  }

  function format(x, digits = 4) {
    if (typeof x === "string") return x;
    if (x === undefined || x === null) return "–";
    if (Number.isNaN(x)) return "NaN";
    if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
    if (x === 0) return "0";
    let text;
    const size = Math.abs(Number(x.toPrecision(digits)));
    if (size < 1e-3 || size >= 10 ** digits) {
      const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
      text = `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${Number(exponent)}`;
    } else text = String(Number(x.toPrecision(digits)));
    return text.replaceAll("-", "−");
  }

  const symbol = (q) => q.base + [...q.sub].map((c) => "₀₁₂₃₄₅₆₇₈₉"[Number(c)] ?? c).join("");
  const symbolMath = (q, gradient, place = []) => {
    let name = q.sub ? `<msub><mi>${escaped(q.base)}</mi><mn>${escaped(q.sub)}</mn></msub>` : `<mi>${escaped(q.base)}</mi>`;
    if (place.length) name = `<msub><mrow>${name}</mrow><mrow>${place.map((p) => `<mn>${p}</mn>`).join("<mo>,</mo>")}</mrow></msub>`;
    return gradient ? `<mfrac><mrow><mi>∂</mi><mi>J</mi></mrow><mrow><mi>∂</mi>${name}</mrow></mfrac>` : name;
  };
  function placeText(at, shape) {
    const place = [];
    for (let i = shape.length - 1; i >= 0; i--) { place.unshift(at % shape[i]); at = Math.floor(at / shape[i]); }
    return place;
  }
  const number = (x) => (typeof x === "string" ? { NaN: NaN, "∞": Infinity, "−∞": -Infinity }[x] : x);

  // One lesson: an explanation, where its reader stands, and what was changed

  class Lesson {
    constructor(board, section) {
      this.board = board;
      this.section = section;
      board.byId = Object.fromEntries(board.quantities.map((q) => [q.id, q]));
      this.changed = {};
      this.numbers = {};
      this.chosen = {};
      this.steps = [
        ...board.forward.map((step) => ({ phase: "forward", step })),
        ...board.backward.map((turn) => ({ phase: "backward", step: turn })),
        ...board.update.map((revision) => ({ phase: "update", step: revision })),
      ];
      this.at = 0;
      this.found = null;
    }

    value(id) {
      return this.found ? this.found.values[id].data : this.board.byId[id].values;
    }

    gradient(id) {
      if (this.found) return this.found.gradients[id]?.data ?? null;
      return this.board.byId[id].gradient;
    }

    sent(n) {
      return this.found ? this.found.sent[n].data : this.board.backward[n].sent;
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
      const data = (this.changed[id]?.data ?? this.board.byId[id].values.map(number)).slice();
      data[at] = value;
      this.changed[id] = { shape: this.board.byId[id].shape, data };
      this.recompute();
    }

    recompute() {
      this.found = blackboard.recompute(this.board, { values: this.changed, numbers: this.numbers });
      this.numerical = {};
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
      section.append(make("h2", {}, page.titles[board.title]?.[lang] ?? board.title));
      if (board.notFinite) {
        const [id, place] = board.notFinite, q = board.byId[id];
        const at = place.reduce((sum, p, i) => sum * q.shape[i] + p, 0);
        section.append(make("p", { class: "banner bad", role: "alert" },
          T("not_finite", { name: symbol(q), place: `[${place}]`, value: format(q.values[at]) })));
      }
      if (board.kind === "model") section.append(make("p", { class: "quiet" }, T("rows")));
      if (board.step) section.append(make("p", { class: "quiet" }, T("after_steps", { count: board.step })));
      section.append(this.bar(), this.graph());
      const given = make("div", { class: "given" });
      this.matrices = [];
      for (const q of board.quantities) if ([...EDITABLE, "constant"].includes(q.role)) given.append(this.matrix(q, "value"));
      section.append(make("h3", {}, T("values")), make("p", { class: "quiet" }, T(board.changeable ? "change_them" : "view_only")), given);
      this.articles = [];
      let phase = "";
      this.steps.forEach((entry, n) => {
        if (entry.phase !== phase) section.append(make("h3", { class: "phase" }, T(entry.phase)));
        phase = entry.phase;
        const article = this.article(entry, n);
        this.articles.push(article);
        section.append(article);
      });
      if (board.counts[0] > board.forward.length) {
        section.append(make("p", { class: "quiet" }, T("many_steps", { count: board.counts[0], shown: board.forward.length })));
      }
      this.go(this.at, false);
      this.refresh();
    }

    bar() {
      const last = this.steps.length;
      const press = (text, label, to) => make("button", { type: "button", "aria-label": label, title: label, onclick: () => this.go(to()) }, text);
      this.slider = make("input", { type: "range", min: 0, max: last, value: this.at, "aria-label": T("step"),
        oninput: (event) => this.go(Number(event.target.value)) });
      this.where = make("span", { class: "where", role: "status" });
      return make("div", { class: "bar controls" }, make("div", {},
        press("«", T("first"), () => 0), press("‹", T("previous"), () => this.at - 1), this.slider,
        press("›", T("next"), () => this.at + 1), press("»", T("last"), () => last), this.where,
        make("button", { type: "button", onclick: () => this.reset() }, T("reset"))));
    }

    go(to, scroll = true) {
      this.at = Math.max(0, Math.min(this.steps.length, to));
      this.slider.value = this.at;
      const entry = this.steps[this.at - 1];
      this.where.textContent = entry ? `${this.at} / ${this.steps.length} · ${T(entry.phase)}` : T("nothing_yet");
      this.articles.forEach((article, n) => {
        article.classList.toggle("later", n >= this.at);
        article.classList.toggle("now", n === this.at - 1);
      });
      if (scroll && entry) this.articles[this.at - 1].scrollIntoView({ block: "center" });
      this.light();
      this.refresh();
    }

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
    }

    // The articles and nodes of a quantity point at one another
    highlight(id, on) {
      this.steps.forEach(({ step }, n) => {
        if ([step.result, step.operand, step.quantity].includes(id)) this.articles[n].classList.toggle("lit", on);
      });
      this.nodes?.[id]?.classList.toggle("now", on);
    }

    show(id) {
      const n = this.steps.findIndex(({ step, phase }) => (phase === "forward" ? step.result : step.operand) === id);
      if (n >= 0) this.articles[n].scrollIntoView({ block: "center" });
    }

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
    }

    article({ phase, step }, n) {
      const { board } = this;
      const q = board.byId[phase === "forward" ? step.result : phase === "backward" ? step.operand : step.quantity];
      const numbers = phase === "forward" ? q.forward : phase === "backward" ? q.backward : board.optimizer.startsWith("Adam") ? "D4, D5, D6" : "D3, D17";
      const shown = numbers.split(", ").filter(Boolean);
      const head = make("div", { class: "head" }, ...shown.map((d) => make("span", { class: "d" }, d)));
      const titleText = phase === "update" ? symbol(q) : `${step.number} · `;
      const title = make("h4", { style: "margin:0;font-weight:600" }, titleText);
      if (phase !== "update") title.append(mathematics(symbolMath(q, phase === "backward")), ` · ${step.primitive}`);
      head.append(title);
      if (phase === "forward") head.append(make("span", { class: "quiet" }, `${q.layer ? `${T("layer")} ${q.layer} · ` : ""}${step.source}`));
      const article = make("article", { class: phase, "data-n": n + 1, "data-id": q.id });
      article.addEventListener("mouseenter", () => this.nodes?.[q.id]?.classList.add("now"));
      article.addEventListener("mouseleave", () => this.nodes?.[q.id]?.classList.remove("now"));
      const left = make("div"), right = make("div");
      const body = make("div", { class: "body" }, make("div", { class: "columns" }, left, right));
      article.append(head, make("p", { class: "notyet" }, T("not_computed")), body);
      if (phase === "update") this.updateBody(step, q, left, right);
      else {
        left.append(this.equation(T("equation"), mathematics(step.equation)));
        const written = make("div", { class: "equation", tabindex: 0 });
        left.append(written);
        const extra = make("div");
        left.append(extra);
        right.append(this.matrix(q, phase === "forward" ? "value" : "gradient", phase === "backward" ? n - board.forward.length : null));
        article.refresh = () => this.refreshStep(phase, step, n, q, written, extra);
      }
      const documents = make("div", { class: "documents" });
      for (const d of shown) {
        const entry = page.documented[d];
        if (!entry || board.documents[d] !== n) continue;
        documents.append(this.equation(`${d} · ${T("documented")}`, mathematics(entry.documented)), this.equation(`${d} · ${T("exact")}`, mathematics(entry.exact)));
        if (entry.missing[lang]) documents.append(make("p", { class: "quiet" }, `${T("missing")}: ${entry.missing[lang]}`));
      }
      if (documents.children.length) article.append(documents);
      return article;
    }

    equation(label, ...content) {
      return make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, label), ...content);
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
        const table = make("table", { class: "grid" }, make("caption", { class: "quiet", style: "text-align:left" }, `${T("local")} × ${T("incoming")} = ${T("product")}`),
          make("thead", {}, make("tr", {}, ...["", T("local"), T("incoming"), T("product")].map((t) => make(t ? "th" : "td", t ? { scope: "col" } : {}, t)))));
        const rows = make("tbody");
        for (const [o, local, incoming, product] of terms) {
          rows.append(make("tr", {}, ...[`${symbol(out)}${out.shape.length ? `[${placeText(o, out.shape)}]` : ""}`, format(local), format(incoming), format(product)].map((t) => make("td", {}, t))));
        }
        table.append(rows);
        extra.append(make("div", { class: "scroll", tabindex: 0 }, table));
      }
      if (step.turns > 1) extra.append(make("p", {}, T("term", { turn: step.turn, turns: step.turns, value: symbol(q) })));
      if (step.turn === step.turns) this.numericalText(q, at, extra);
    }

    // The chain rule for one element: what each element of the result adds
    terms(m, at) {
      const turn = this.board.backward[m];
      if (!this.found) return turn.terms[at] ?? null;
      const step = this.board.forward[turn.step], q = this.board.byId[turn.operand], out = this.board.byId[step.result];
      const incoming = this.found.gradients[step.result];
      if (incoming.data.length > SMALL) return null;
      const scope = {};
      step.operands.forEach(([name, id, value]) => { scope[name] = id ? this.found.values[id] : value; });
      scope[step.target] = this.found.values[step.result];
      const rows = [];
      incoming.data.forEach((gy, o) => {
        const unit = { shape: out.shape, data: incoming.data.map((_, i) => Number(i === o)) };
        const wanted = turn.program.equation.elementwise ? out.shape : q.shape;
        const local = blackboard.unbroadcast(blackboard.evaluate(turn.program, { ...scope, [`g${step.target}`]: unit }, wanted), q.shape).data[at];
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
          const data = here.data.slice();
          data[at] += d;
          return blackboard.recompute({ ...this.board, backward: [], update: [] }, { values: { ...this.changed, [q.id]: { shape: q.shape, data } }, numbers: this.numbers }).loss;
        };
        taken = [(loss(h) - loss(-h)) / (2 * h), false];
      }
      if (!taken) return;
      const near = Math.abs(taken[0] - gradient) <= 1e-5 * Math.max(1e-3, Math.abs(gradient));
      const agrees = this.found ? near : q.agrees !== false;
      const [kind, word] = taken[1] ? ["quiet", T("kink")] : agrees ? ["good", T("agree")] : ["bad", T("disagree")];
      holder.append(make("p", {}, `${T("numerical")}: ${format(taken[0], 9)} · `, make("span", { class: kind }, word)));
    }

    updateBody(revision, q, left, right) {
      left.append(make("p", { class: "quiet" }, T("updated_by", { name: this.board.optimizer, numbers: this.board.numbers })));
      const rate = this.numbers.learning_rate ?? revision.assignments[0].program?.parameters.learning_rate ?? revision.assignments.at(-1).program?.parameters.learning_rate;
      if (this.board.changeable && revision === this.board.update[0]) {
        const input = make("input", { type: "text", inputmode: "decimal", value: format(rate, 6).replace("−", "-"), "aria-label": T("learning_rate"), class: "rate", style: "width:7rem;margin-left:.5rem" });
        input.addEventListener("change", () => {
          const value = Number(input.value.replace("−", "-"));
          if (Number.isFinite(value)) { this.numbers.learning_rate = value; this.recompute(); }
        });
        left.append(make("label", {}, `${T("learning_rate")} α =`, input));
      }
      const lines = revision.assignments.map((one) => {
        left.append(this.equation(T("equation"), mathematics(one.equation)));
        const line = make("div", { class: "equation", tabindex: 0 });
        left.append(line);
        return line;
      });
      const after = make("div");
      right.append(after);
      queueMicrotask(() => {
        const article = left.closest("article");
        article.refresh = () => {
          const at = this.place(q.id);
          const scope = {};
          if (this.found) {
            const updated = this.found.updated[q.id];
            for (const [slot, data] of Object.entries(revision.state)) scope[slot] = data;
            revision.assignments.forEach((one, i) => {
              this.assignment(one, lines[i], q, at, { scope: { ...scope } }, updated[one.target].data[at]);
              scope[one.target] = updated[one.target].data;
            });
          } else revision.assignments.forEach((one, i) => this.assignment(one, lines[i], q, at, null, one.after[at]));
          const data = this.found ? this.found.updated[q.id].theta.data : revision.after;
          after.replaceChildren(this.table(q, data, `${symbol(q)} ←`, false));
        };
        article.refresh();
      });
    }

    assignment(one, line, q, at, context, result) {
      const put = one.put[at];
      const place = placeText(at, q.shape);
      const name = one.target === "theta" ? symbolMath(q, false, place) : symbolMath({ base: one.target, sub: "" }, false, place);
      const math = mathematics(`<mrow>${name}<mo>=</mo>${put ? `${put}<mo>=</mo>` : ""}<mn>${format(number(result))}</mn></mrow>`);
      this.fill(math, context);
      line.replaceChildren(make("span", { class: "label" }, T("with_values")), math);
    }

    // Matrices

    matrix(q, what, turn = null) {
      const holder = make("div", { class: "matrix", "data-matrix": `${what === "gradient" ? "∇" : ""}${q.id}` });
      holder.refresh = () => {
        const editable = what === "value" && EDITABLE.includes(q.role) && this.board.changeable;
        const data = what === "value" ? this.value(q.id) : turn === null ? this.gradient(q.id) : this.total(turn, q);
        if (editable && holder.contains(document.activeElement)) {
          holder.querySelectorAll("input").forEach((input, i) => { if (input !== document.activeElement) input.value = format(number(data[i]), 6).replace("−", "-"); });
          return;
        }
        holder.replaceChildren(...this.table(q, data, null, editable, what).childNodes);
      };
      holder.refresh();
      this.matrices.push(holder);
      return holder;
    }

    // The sum of what has been sent to q, this turn included
    total(n, q) {
      if (!this.found) return this.board.backward[n].total;
      const turns = this.board.backward.map((turn, m) => [turn, m]).filter(([turn, m]) => turn.operand === q.id && m <= n);
      return turns.map(([, m]) => this.found.sent[m].data).reduce((a, b) => a.map((x, i) => x + b[i]));
    }

    table(q, data, label, editable, what = "value") {
      const holder = make("div", { class: "matrix" });
      const shape = q.shape.join(" × ");
      holder.append(make("p", { class: "name" }, label ? `${label} ` : mathematics(symbolMath(q, what === "gradient")), make("span", { class: "quiet" }, shape ? ` ${shape}` : "")));
      if (!data) {
        holder.append(make("p", { class: "notyet" }, T("not_computed")));
        return holder;
      }
      const finite = data.map(number).filter(Number.isFinite).map(Math.abs);
      const scale = Math.max(1e-300, ...(finite.length < 10000 ? finite : [finite.reduce((a, b) => Math.max(a, b), 0)]));
      if (data.length > SMALL) {
        holder.append(this.heat(q, data, scale));
        return holder;
      }
      const inner = q.shape.filter((n, i) => n !== 1 || i === q.shape.length - 1);
      const columns = inner.length > 1 && inner.at(-1) === 1 ? inner.at(-2) : inner.at(-1) ?? 1;
      const table = make("table", { role: "presentation" });
      for (let row = 0; row < data.length / columns; row++) {
        const line = make("tr");
        for (let column = 0; column < columns; column++) {
          const at = row * columns + column, x = number(data[at]);
          const name = `${what === "gradient" ? "∂J/∂" : ""}${symbol(q)}${q.shape.length ? `[${placeText(at, q.shape)}]` : ""}`;
          const colour = Number.isFinite(x) ? `rgba(var(--${x < 0 ? "cold" : "warm"}), ${(0.38 * Math.abs(x) / scale).toFixed(3)})` : "transparent";
          let cell;
          if (editable) {
            cell = make("input", { type: "text", inputmode: "decimal", value: format(x, 6).replace("−", "-"), "aria-label": name });
            cell.addEventListener("change", () => {
              const value = Number(cell.value.replace("−", "-"));
              if (cell.value.trim() && Number.isFinite(value)) this.change(q.id, at, value);
              else cell.value = format(number(this.value(q.id)[at]), 6);
            });
            cell.addEventListener("focus", () => { this.chosen[q.id] = at; this.refresh(); });
          } else {
            cell = make("button", { type: "button", "aria-label": `${name} = ${format(x)}`, "aria-pressed": String(this.place(q.id) === at), class: Number.isFinite(x) ? null : "strange" }, format(x));
            cell.addEventListener("click", () => { this.chosen[q.id] = at; this.refresh(); });
          }
          cell.style.backgroundColor = colour;
          line.append(make("td", {}, cell));
        }
        table.append(line);
      }
      holder.append(table);
      return holder;
    }

    heat(q, data, scale) {
      const columns = q.shape.at(-1) ?? 1, rows = data.length / columns;
      const canvas = make("canvas", { class: "heat", width: Math.min(columns, 256), height: Math.min(rows, 256), role: "img",
        "aria-label": T("too_many", { count: data.length, low: format(Math.min(...data.slice(0, 50000).map(number))), mean: format(data.reduce((a, b) => a + number(b), 0) / data.length), high: format(Math.max(...data.slice(0, 50000).map(number))) }) });
      const context = canvas.getContext("2d");
      const dx = columns / canvas.width, dy = rows / canvas.height;
      for (let y = 0; y < canvas.height; y++) {
        for (let x = 0; x < canvas.width; x++) {
          const value = number(data[Math.floor(y * dy) * columns + Math.floor(x * dx)]) / scale;
          context.fillStyle = value < 0 ? `rgba(38,108,190,${-value})` : `rgba(214,106,38,${value})`;
          context.fillRect(x, y, 1, 1);
        }
      }
      const details = make("details", {}, make("summary", {}, T("full_values")));
      details.addEventListener("toggle", () => {
        if (details.open && details.children.length < 2) details.append(make("pre", { class: "values", tabindex: 0 }, data.slice(0, 20000).map((x) => format(number(x), 6)).join(" ")));
      });
      return make("div", {}, canvas, make("p", { class: "quiet" }, canvas.getAttribute("aria-label")), details);
    }

    refresh() {
      for (const holder of this.matrices ?? []) holder.refresh();
      for (const article of this.articles ?? []) article.refresh?.();
    }
  }

  // Adam as documented beside Adam with its bias corrected

  function adam(section) {
    section.replaceChildren(make("h2", {}, page.titles.adam[lang]));
    const documents = make("div", { class: "documents" });
    for (const d of ["D4", "D5", "D6"]) {
      const entry = page.documented[d];
      for (const [key, label] of [["documented", "documented"], ["exact", "exact"]]) {
        documents.append(make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, `${d} · ${T(label)}`), mathematics(entry[key])));
      }
      if (entry.missing[lang]) documents.append(make("p", { class: "quiet" }, `${T("missing")}: ${entry.missing[lang]}`));
    }
    const rows = page.adam;
    const head = ["t", "m", "v", "Δ, D6", `Δ, ${T("adam.corrected")}`, T("adam.ratio"), "J, D6", `J, ${T("adam.corrected")}`];
    const table = make("table", { class: "grid" }, make("caption", { class: "quiet" }, page.titles.adam[lang]),
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
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": `${page.titles.adam[lang]}: |Δ|` });
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
      const article = make("article", {}, make("div", { class: "head" }, make("span", { class: "d" }, d), make("h3", {}, entry.title[lang])),
        make("div", { class: "documents", style: "border:0" },
          make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, T("documented")), mathematics(entry.documented)),
          make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, T("exact")), mathematics(entry.exact)),
          entry.missing[lang] ? make("p", { class: "quiet" }, `${T("missing")}: ${entry.missing[lang]}`) : null));
      section.append(article);
    }
  }

  // The page

  const lessons = page.boards.map((board, i) => new Lesson(board, document.getElementById(`lesson-${i}`)));
  function render() {
    root.lang = lang === "zh" ? "zh-Hans" : "en";
    document.title = page.heading[lang];
    document.querySelector("h1").textContent = page.heading[lang];
    document.getElementById("language").textContent = lang === "zh" ? "English" : "中文";
    document.getElementById("theme").textContent = T("theme");
    document.getElementById("print").textContent = T("print");
    document.getElementById("skip").textContent = T("skip");
    document.getElementById("keys").textContent = T("keys");
    if (page.overview.length) overview(document.getElementById("overview"));
    for (const lesson of lessons) lesson.render();
    if (page.adam) adam(document.getElementById("adam"));
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = (name) => { root.dataset.theme = name; };
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
  document.getElementById("language").addEventListener("click", () => { lang = lang === "en" ? "zh" : "en"; render(); });
  document.getElementById("print").addEventListener("click", () => print());
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const lesson = lessons.find((l) => l.section.contains(event.target)) ?? lessons[0];
    const to = { ArrowRight: lesson.at + 1, ArrowLeft: lesson.at - 1, Home: 0, End: lesson.steps.length }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    lesson.go(to);
  });
  window.lessons = lessons;  // for whoever looks at the page with the browser's tools
  render();
})();
