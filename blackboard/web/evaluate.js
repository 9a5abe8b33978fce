// The step computed anew, when a value is changed: by the equations of the registry, each written as loops by the engine's
// own reader of them. Until then the numbers shown are the engine's.
"use strict";

const blackboard = (() => {
  const FUNCTIONS = {{functions}}, made = new Map();

  // The target of a program, from arrays and numbers by their names; arrays are flat, in row-major order
  function run(program, scope) {
    if (!made.has(program)) made.set(program, Function(`return ${program}`)());
    return made.get(program)({ ...scope }, FUNCTIONS);
  }

  const operands = (step, values) => Object.fromEntries(step.operands.filter(([, id]) => id).map(([name, id]) => [name, values[id]]));

  // What a step sends back, where `incoming` is the gradient of its result
  function sendBack(board, turn, values, incoming) {
    const step = board.forward[turn.step];
    return run(turn.program, { ...operands(step, values), [step.target]: values[step.result], [`g${step.target}`]: incoming });
  }

  // Values forward, gradients backward in the recorded order, and the update
  function recompute(board, changed, numbers = {}) {
    const values = Object.fromEntries(board.quantities.map((q) => [q.id, changed[q.id] ?? q.values.map(number)]));
    for (const step of board.forward) values[step.result] = run(step.program, operands(step, values));
    const loss = board.forward.at(-1).result, gradients = { [loss]: [1] };
    const sent = board.backward.map((turn) => {
      const added = sendBack(board, turn, values, gradients[board.forward[turn.step].result]);
      const before = turn.turn > 1 ? gradients[turn.operand] : null;
      gradients[turn.operand] = before ? added.map((x, i) => x + before[i]) : added;
      return added;
    });
    const updated = {};
    for (const { quantity, state, assignments, parameters } of board.update) {
      const scope = { ...parameters, ...numbers, ...state, theta: values[quantity], g: gradients[quantity] };
      for (const one of assignments) scope[one.target] = run(one.program, scope);
      updated[quantity] = scope;
    }
    return { values, gradients, sent, updated, loss: values[loss][0] };
  }

  return { recompute, sendBack };
})();
