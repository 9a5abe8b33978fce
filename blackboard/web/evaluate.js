// The equations of the registry, evaluated as they are written: by loops over their indices, in double precision.
// No operation has code of its own here; what an equation says is all there is. The page uses it when a value is
// changed; until then the numbers shown are the engine's.
"use strict";

const blackboard = (() => {
  const FUNCTIONS = {{functions}};
  const CONSTANTS = { pi: Math.PI, inf: Infinity };
  const OPERATORS = {
    "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
    "//": (a, b) => Math.floor(a / b), "**": (a, b) => a ** b,
    "&": (a, b) => a & b, "|": (a, b) => a | b, "^": (a, b) => a ^ b,
  };
  const COMPARE = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "==": (a, b) => a === b, "!=": (a, b) => a !== b,
  };
  const REST = "...";

  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  const isArray = (x) => x !== null && typeof x === "object" && "data" in x;

  function strides(shape) {
    const steps = new Array(shape.length);
    let step = 1;
    for (let i = shape.length - 1; i >= 0; i--) { steps[i] = step; step *= shape[i]; }
    return steps;
  }

  function* places(shape) {
    const place = new Array(shape.length).fill(0);
    const count = size(shape);
    for (let n = 0; n < count; n++) {
      yield place.slice();
      for (let i = shape.length - 1; i >= 0 && ++place[i] === shape[i]; i--) place[i] = 0;
    }
  }

  // Where an element lies in an array that may be shorter, and have length 1 where it is repeated
  function repeated(place, x) {
    const steps = (x.steps ??= strides(x.shape)), { shape } = x;
    let at = 0;
    for (let i = 0; i < shape.length; i++) at += (shape[i] === 1 ? 0 : place[place.length - shape.length + i]) * steps[i];
    return at;
  }

  function transposed(x, order) {
    const shape = order.map((i) => x.shape[i]);
    const steps = strides(x.shape);
    const data = [];
    for (const place of places(shape)) data.push(x.data[place.reduce((at, p, i) => at + p * steps[order[i]], 0)]);
    return { shape, data };
  }

  const axesOf = (ndim, axis) =>
    (axis === null ? [...Array(ndim).keys()] : [].concat(axis).map((a) => (a + ndim) % ndim)).sort((a, b) => a - b);

  // The axes of the operation as one at the end
  function front(x, axis, ndim) {
    if (x.shape.length < ndim) return x;
    const axes = axesOf(ndim, axis);
    const rest = [...Array(x.shape.length).keys()].filter((i) => !axes.includes(i));
    const moved = transposed(x, [...rest, ...axes]);
    return { shape: [...rest.map((i) => x.shape[i]), size(axes.map((i) => x.shape[i]))], data: moved.data };
  }

  function back(y, shape, axis) {
    const axes = axesOf(shape.length, axis);
    const order = [...[...Array(shape.length).keys()].filter((i) => !axes.includes(i)), ...axes];
    const inverse = order.map((_, i) => order.indexOf(i));
    return transposed({ shape: order.map((i) => shape[i]), data: y.data }, inverse);
  }

  // x of a reduction that kept axes of length 1, without them
  function without(x, axis, ndim) {
    if (x.shape.length < ndim) return x;
    const axes = axesOf(ndim, axis);
    if (!axes.every((a) => x.shape[a] === 1)) return x;
    return { shape: x.shape.filter((_, i) => !axes.includes(i)), data: x.data };
  }

  class Loops {
    // equation: statements, indices, elementwise, references. scope: arrays {shape, data}, numbers, lists. shape: of
    // the result. axis: undefined where the operation has none.
    constructor(equation, scope, shape, axis) {
      this.equation = equation;
      this.scope = { ...scope };
      this.shape = shape;
      this.axis = axis;
      this.extents = {};
      this.indices = new Set(equation.indices);
      if (equation.elementwise) return;
      const last = equation.statements[equation.statements.length - 1];
      if (axis !== undefined) {
        const ndim = Math.max(shape.length, ...Object.values(scope).filter(isArray).map((x) => x.shape.length));
        for (const [name, x] of Object.entries(scope)) {
          const used = equation.references.filter(([other]) => other === name);
          if (!isArray(x) || !used.length) continue;
          this.scope[name] = used.every(([, parts]) => parts.length === 1) ? without(x, axis, x.shape.length < ndim ? Infinity : ndim) : front(x, axis, ndim);
        }
        if (last.indices.length) {
          const probe = { shape, data: new Array(size(shape)) };
          this.shape = (last.indices.length === 1 ? without(probe, axis, shape.length < ndim ? Infinity : ndim) : front(probe, axis, ndim)).shape;
        }
      }
      for (const [name, bound] of equation.bounds) this.extend(name, this.value(bound, {}));
      for (const [name, parts, flat] of equation.references) {
        const x = this.scope[name];
        if (isArray(x)) this.bind(flat ? [x.data.length] : x.shape, parts);
      }
      this.bind(equation.flat ? [size(this.shape)] : this.shape, last.indices);
    }

    bind(shape, parts) {
      if (!parts.length) return;
      if (parts.length === 1 && parts[0][0] === "name" && shape.length !== 1) return this.extend(parts[0][1], shape.slice());
      if (parts.length === 1 && parts[0][0] === "at") return;
      const rest = parts.findIndex((p) => p[0] === "rest");
      if (rest >= 0) {
        const cut = shape.length - (parts.length - rest - 1);
        this.extend(REST, shape.slice(rest, cut));
        parts = parts.slice(rest + 1);
        shape = shape.slice(cut);
      }
      const several = shape.length - parts.length + 1;
      let at = 0;
      for (const part of parts) {
        const starred = part[0] === "star";
        const name = starred ? part[1] : part;
        const extent = starred ? shape.slice(at, at + several) : shape[at];
        at += starred ? several : 1;
        if (name[0] === "name" && this.indices.has(name[1])) this.extend(name[1], extent);
      }
    }

    extend(name, extent) {
      const known = this.extents[name];
      if (name === REST && known !== undefined) {
        const long = known.length >= extent.length ? known : extent;
        const short = long === known ? extent : known;
        extent = long.map((n, i) => Math.max(n, short[i - long.length + short.length] ?? 1));
      }
      this.extents[name] = extent;
    }

    // act(at) for all values of the indices named, which are written into `at` in turn
    each(names, at, act, n = 0) {
      if (n === names.length) return act(at);
      const name = names[n], extent = this.extents[name];
      if (Array.isArray(extent)) for (const place of places(extent)) { at[name] = place; this.each(names, at, act, n + 1); }
      else for (let i = 0; i < extent; i++) { at[name] = i; this.each(names, at, act, n + 1); }
    }

    run() {
      const statements = this.equation.statements;
      for (const statement of statements) {
        this.scope[statement.target] = this.equation.elementwise ? this.broadcast(statement) : this.indexed(statement);
      }
      const result = this.scope[statements[statements.length - 1].target];
      if (this.axis !== undefined && result.shape.join() !== this.wanted.join() && !this.equation.elementwise) {
        return back(result, this.wanted, this.axis);
      }
      return result;
    }

    result(wanted) {
      this.wanted = wanted;
      const found = this.run();
      return { shape: found.shape, data: found.data };
    }

    broadcast(statement) {
      const arrays = Object.values(this.scope).filter(isArray).map((x) => x.shape);
      let shape = this.shape;
      for (const other of arrays) if (other.length > shape.length || size(other) > size(shape)) shape = other;
      const data = [];
      for (const place of places(shape)) { this.place = place; data.push(this.value(statement.value, {})); }
      return { shape, data };
    }

    indexed(statement) {
      if (!statement.indices.length) {
        const [kind, name, args] = statement.value;
        if (kind === "call" && (name === "border" || name === "inside")) return this.bordered(name, args);
        return { shape: [], data: [this.value(statement.value, {})] };
      }
      const names = statement.indices.flatMap((part) => this.named(part));
      const found = [];
      let shape = [];
      this.each(names, {}, (at) => {
        const place = this.place_of(statement.indices, at);
        place.forEach((p, i) => { shape[i] = Math.max(shape[i] ?? 0, p + 1); });
        found.push([place, this.value(statement.value, at)]);
      });
      const flat = this.equation.flat;
      const steps = strides(shape);
      const data = new Array(size(shape));
      for (const [place, value] of found) data[place.reduce((sum, p, i) => sum + p * steps[i], 0)] = value;
      return { shape: flat ? this.shape : shape, data };
    }

    named(part) {
      if (part[0] === "rest") return [REST];
      if (part[0] === "star") return this.named(part[1]);
      return (part[0] === "name" || part[0] === "at") && this.indices.has(part[1]) ? [part[1]] : [];
    }

    place_of(parts, at) {
      const place = [];
      for (const part of parts) {
        const value = part[0] === "rest" ? at[REST] : this.value(part[0] === "star" ? part[1] : part, at);
        if (Array.isArray(value)) place.push(...value);
        else place.push(value);
      }
      return place;
    }

    bordered(kind, args) {
      const x = this.scope[args[0][1]];
      const padding = this.value(args[1], {});
      const value = kind === "border" ? this.value(args[2], {}) : 0;
      const shape = x.shape.map((n, i) => (i && i <= padding.length ? n + padding[i - 1][0] + padding[i - 1][1] : n));
      const steps = strides(x.shape);
      const data = [];
      for (const place of places(shape)) {
        let at = 0, within = true;
        place.forEach((p, i) => {
          const own = i && i <= padding.length ? p - padding[i - 1][0] : p;
          within = within && own >= 0 && own < x.shape[i];
          at += own * steps[i];
        });
        data.push(kind === "inside" ? Number(within) : within ? x.data[at] : value);
      }
      return { shape, data };
    }

    value(node, at) {
      switch (node[0]) {
        case "number": return node[1];
        case "name": return this.name(node[1], at);
        case "star": return this.value(node[1], at);
        case "op": return this.combined(OPERATORS[node[1]], this.value(node[2], at), this.value(node[3], at));
        case "neg": return -this.value(node[1], at);
        case "not": return !this.value(node[1], at);
        case "~": return ~this.value(node[1], at);
        case "compare": {
          const values = node[2].map((part) => this.value(part, at));
          return node[1].every((sign, i) => [].concat(this.combined(COMPARE[sign], values[i], values[i + 1])).every(Boolean));
        }
        case "and": return node[1].every((part) => this.value(part, at));
        case "or": return node[1].some((part) => this.value(part, at));
        case "if": return this.value(this.value(node[1], at) ? node[2] : node[3], at);
        case "at": return this.element(node, at);
        case "length": { const { shape } = this.scope[node[1]]; return shape.at(this.value(node[2], at)); }
        case "size": return this.scope[node[1]].data.length;
        case "reduce": return this.reduced(node, at);
        case "call": return FUNCTIONS[node[1]](...node[2].map((part) => this.value(part, at)));
        default: throw new Error(`cannot evaluate ${node[0]}`);
      }
    }

    combined(operate, a, b) {
      if (typeof a === "number" && typeof b === "number") return operate(a, b);
      if (!Array.isArray(a) && !Array.isArray(b)) return operate(Number(a), Number(b));
      const count = Array.isArray(a) ? a.length : b.length;
      return [...Array(count).keys()].map((i) => operate(Array.isArray(a) ? a[i] : a, Array.isArray(b) ? b[i] : b));
    }

    name(name, at) {
      if (name in at) return at[name];
      const x = this.scope[name];
      if (x === undefined) return CONSTANTS[name];
      if (!isArray(x)) return x;
      if (this.equation.elementwise) return x.data[repeated(this.place, x)];
      return x.data[0];
    }

    element(node, at) {
      const [, name, flat, parts] = node;
      if (name in at) {  // a multi-index in another order
        const order = this.value(parts[0], at) ?? [...at[name].keys()].reverse();
        return order.map((k) => at[name][k]);
      }
      const x = this.scope[name];
      const place = this.place_of(parts, at);
      if (flat) return x.data[place[0]];
      if (parts[0][0] === "rest") return x.data[repeated(place, x)];
      const steps = (x.steps ??= strides(x.shape));
      let sum = 0;
      for (let i = 0; i < place.length; i++) sum += place[i] * steps[i];
      return x.data[sum];
    }

    reduced(node, at) {
      const [, kind, body, over] = node;
      let total = kind === "product" ? 1 : kind === "max" ? -Infinity : kind === "min" ? Infinity : 0;
      let count = 0;
      this.each(over, { ...at }, (run) => {
        const value = Number(this.value(body, run));
        if (kind === "product") total *= value;
        else if (kind === "max" || kind === "min") total = FUNCTIONS[kind](total, value);
        else total += value;
        count++;
      });
      return kind === "mean" ? total / count : total;
    }
  }

  // An equation for arrays: {shape, data}
  function evaluate(program, scope, shape) {
    const loops = new Loops(program.equation, { ...program.parameters, ...scope }, shape, program.axis);
    return loops.result(shape);
  }

  // Sums over the axes along which an operand was repeated
  function unbroadcast(g, shape) {
    if (g.shape.join() === shape.join()) return g;
    const data = new Array(size(shape)).fill(0), made = { shape, data };
    let n = 0;
    for (const place of places(g.shape)) data[shape.length ? repeated(place, made) : 0] += g.data[n++];
    return made;
  }

  // The whole step anew: values forward, gradients backward in the recorded order, and the update
  function recompute(board, given) {
    const values = {}, gradients = {}, local = {};
    for (const q of board.quantities) values[q.id] = { shape: q.shape, data: q.values.slice() };
    Object.assign(values, given.values);
    for (const step of board.forward) {
      const scope = {};
      step.operands.forEach(([name, id, number]) => { scope[name] = id ? values[id] : number; });
      values[step.result] = evaluate(step.program, scope, board.byId[step.result].shape);
    }
    const loss = board.forward[board.forward.length - 1].result;
    gradients[loss] = { shape: board.byId[loss].shape, data: [1] };
    for (const [n, turn] of board.backward.entries()) {
      const step = board.forward[turn.step], scope = {};
      step.operands.forEach(([name, id, number]) => { scope[name] = id ? values[id] : number; });
      scope[step.target] = values[step.result];
      scope[`g${step.target}`] = gradients[step.result];
      const shape = board.byId[turn.operand].shape;
      const wanted = turn.program.equation.elementwise ? gradients[step.result].shape : shape;
      const sent = unbroadcast(evaluate(turn.program, scope, wanted), shape);
      local[n] = sent;
      const before = turn.turn > 1 ? gradients[turn.operand] : undefined;
      gradients[turn.operand] = before ? { shape, data: before.data.map((x, i) => x + sent.data[i]) } : sent;
    }
    const updated = {};
    for (const revision of board.update) {
      const scope = { theta: values[revision.quantity], g: gradients[revision.quantity] };
      for (const [slot, data] of Object.entries(revision.state)) scope[slot] = { shape: scope.theta.shape, data };
      for (const one of revision.assignments) {
        const parameters = { ...one.program.parameters, ...given.numbers };
        scope[one.target] = evaluate({ ...one.program, parameters }, scope, scope.theta.shape);
      }
      updated[revision.quantity] = scope;
    }
    return { values, gradients, sent: local, updated, loss: values[loss].data[0] };
  }

  return { evaluate, recompute, unbroadcast };
})();
if (typeof module !== "undefined") module.exports = blackboard;
