// Arrays: as tables whose elements can be chosen or changed, and as heat maps where they are large.
"use strict";

Object.assign(Lesson.prototype, {
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
  },

  // The sum of what has been sent to q, this turn included
  total(n, q) {
    if (!this.found) return this.board.backward[n].total;
    const turns = this.board.backward.map((turn, m) => [turn, m]).filter(([turn, m]) => turn.operand === q.id && m <= n);
    return turns.map(([, m]) => this.found.sent[m].data).reduce((a, b) => a.map((x, i) => x + b[i]));
  },

  table(q, data, label, editable, what = "value") {
    const holder = make("div", { class: "matrix" });
    const shape = q.shape.join(" × ");
    holder.append(make("p", { class: "name" }, label ? `${label} ` : mathematics(symbolMath(q, what === "gradient")), make("span", { class: "quiet" }, shape ? ` ${shape}` : "")));
    if (!data) {
      holder.append(make("p", { class: "notyet" }, T("not_computed")));
      return holder;
    }
    if (data.length > SMALL) {
      holder.append(this.heat(q, data));
      return holder;
    }
    const scale = Math.max(1e-300, ...data.map(number).filter(Number.isFinite).map(Math.abs));
    const inner = q.shape.filter((n, i) => n !== 1 || i === q.shape.length - 1);
    const columns = inner.length > 1 && inner.at(-1) === 1 ? inner.at(-2) : inner.at(-1) ?? 1;
    const table = make("table", { role: "presentation" });
    const longest = Math.max(...data.map((x) => format(number(x), editable ? 6 : 4).length));
    if (longest > 7) table.style.setProperty("--cell", `calc(${longest}ch + 1rem)`);
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
  },

  heat(q, data) {
    const wide = q.shape.at(-1) ?? 1;
    const { rows, columns, data: shown } = data.sample ?? { rows: data.length / wide, columns: wide, data };
    const found = shown.map(number), finite = found.filter(Number.isFinite);
    const least = finite.reduce((a, b) => Math.min(a, b), Infinity), greatest = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    const [low, mean, high] = data.range ?? [least, found.reduce((a, b) => a + b, 0) / found.length, greatest];
    const scale = Math.max(1e-300, Math.abs(least), Math.abs(greatest));
    const within = (cells, smallest) => Math.min(256, Math.max(smallest, cells * 8));
    const canvas = make("canvas", { class: "heat", width: Math.min(columns, 256), height: Math.min(rows, 256), role: "img",
      style: `width:${within(columns, 96)}px;height:${within(rows, 16)}px`,
      "aria-label": T("too_many", { count: data.length, low: format(low), mean: format(mean), high: format(high) }) });
    const context = canvas.getContext("2d");
    const dx = columns / canvas.width, dy = rows / canvas.height;
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const value = found[Math.floor(y * dy) * columns + Math.floor(x * dx)] / scale;
        context.fillStyle = !Number.isFinite(value) ? "#b3261e" : value < 0 ? `rgba(38,108,190,${-value})` : `rgba(214,106,38,${value})`;
        context.fillRect(x, y, 1, 1);
      }
    }
    const told = make("p", { class: "quiet" }, canvas.getAttribute("aria-label"));
    if (data.sample) {
      told.append(` · ${T("sampled")}`);
      return make("div", {}, canvas, told);
    }
    const details = make("details", {}, make("summary", {}, T("full_values")));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length < 2) details.append(make("pre", { class: "values", tabindex: 0 }, found.map((x) => format(x, 6)).join(" ")));
    });
    return make("div", {}, canvas, told, details);
  },
});
