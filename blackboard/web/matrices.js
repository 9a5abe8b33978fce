// Arrays: small ones as tables whose elements can be chosen or changed, large ones as pictures.
"use strict";

Object.assign(Lesson.prototype, {
  matrix(q, what, turn = null) {
    const holder = make("div", { class: "matrix", "data-matrix": `${what === "gradient" ? "∇" : ""}${q.id}` });
    holder.refresh = () => {
      const editable = what === "value" && EDITABLE.includes(q.role) && this.board.changeable;
      const data = what === "value" ? this.value(q.id) : turn === null ? this.gradient(q.id) : this.total(turn, q);
      if (editable && holder.contains(document.activeElement)) {
        holder.querySelectorAll("input").forEach((input, i) => { if (input !== document.activeElement) input.value = typed(data[i]); });
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
    return turns.map(([, m]) => this.found.sent[m]).reduce((a, b) => a.map((x, i) => x + b[i]));
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
      holder.append(this.large(q, data));
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
        const name = `${what === "gradient" ? "∂J/∂" : ""}${q.name}${q.shape.length ? `[${placeText(at, q.shape)}]` : ""}`;
        const choose = () => { this.chosen[q.id] = at; this.refresh(); };
        const cell = editable
          ? make("input", { type: "text", inputmode: "decimal", value: typed(x), "aria-label": name, onfocus: choose, onchange: () => {
            const value = read(cell.value);
            if (value !== null) this.change(q.id, at, value);
            else cell.value = typed(this.value(q.id)[at]);
          } })
          : make("button", { type: "button", "aria-label": `${name} = ${format(x)}`, "aria-pressed": String(this.place(q.id) === at), class: Number.isFinite(x) ? null : "strange", onclick: choose }, format(x));
        cell.style.backgroundColor = Number.isFinite(x) ? `rgba(var(--${x < 0 ? "cold" : "warm"}), ${(0.38 * Math.abs(x) / scale).toFixed(3)})` : "transparent";
        line.append(make("td", {}, cell));
      }
      table.append(line);
    }
    holder.append(table);
    return holder;
  },

  // A large array: its picture, what it shows, and all values where they are on the page
  large(q, data) {
    const { kind, starts, total } = q.tiles;
    const finite = data.picture ? [] : data.map(number).filter(Number.isFinite);
    const [low, mean, high] = data.range ?? [finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => a + b, 0) / finite.length, finite.reduce((a, b) => Math.max(a, b), -Infinity)];
    const told = T("too_many", { count: data.length, low: format(low), mean: format(mean), high: format(high) });
    const canvas = this.picture(q, data, kind === "matrix" ? 256 : 480, kind === "matrix" ? 200 : 320);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", told);
    const holder = make("div", {}, canvas, kind === "matrix" ? null : make("p", { class: "quiet" }, T(`tiles.${kind}`, { shown: starts.length, total })), make("p", { class: "quiet" }, told));
    if (data.picture) return holder;
    const details = make("details", {}, make("summary", {}, T("full_values")));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length < 2) details.append(make("pre", { class: "values", tabindex: 0 }, data.map((x) => format(number(x), 6)).join(" ")));
    });
    holder.append(details);
    return holder;
  },

  // Up to `most` pictures of the array within `wide` × `high` pixels: blue below 0, orange above, red what is not
  // finite; images without a negative value in ink
  picture(q, data, wide, high, most = Infinity) {
    const { kind, height, width, down, right, starts } = q.tiles, gap = Math.ceil(width / 16);
    const count = Math.min(most, starts.length), columns = Math.min(count, most < Infinity ? most : q.tiles.columns);
    const W = columns * (width + gap) - gap, H = Math.ceil(count / columns) * (height + gap) - gap;
    const element = data.picture ? (k, r, c) => data.picture[(k * height + r) * width + c] : (k, r, c) => number(data[starts[k] + r * down + c * right]);
    const canvas = make("canvas", { class: "heat", width: W, height: H });
    const context = canvas.getContext("2d"), image = context.createImageData(W, H), cells = [];
    let scale = 1e-300, negative = false;
    for (let k = 0; k < count; k++) {
      const x = (k % columns) * (width + gap), y = Math.floor(k / columns) * (height + gap);
      for (let r = 0; r < height; r++) {
        for (let c = 0; c < width; c++) {
          const value = element(k, r, c);
          if (Number.isFinite(value)) { scale = Math.max(scale, Math.abs(value)); negative ||= value < 0; }
          cells.push([4 * ((y + r) * W + x + c), value]);
        }
      }
    }
    const ink = kind === "images" && q.role === "input" && !negative;
    for (const [at, value] of cells) {
      const colour = !Number.isFinite(value) ? [179, 38, 30] : ink ? [0, 0, 0] : value < 0 ? [38, 108, 190] : [214, 106, 38];
      image.data.set([...colour, Number.isFinite(value) ? (255 * Math.abs(value)) / scale : 255], at);
    }
    context.putImageData(image, 0, 0);
    if (ink) canvas.classList.add("ink");
    const times = Math.min(wide / W, high / H, 12);
    const [w, h] = kind === "matrix" ? [Math.min(wide, Math.max(W * 8, wide / 3)), Math.min(high, Math.max(H * 8, 16))] : times > 1 ? [Math.floor(times) * W, Math.floor(times) * H] : [times * W, times * H];
    canvas.style.cssText = `width:${w}px;aspect-ratio:${w}/${h}`;
    return canvas;
  },
});
