// What a take is judged against: a part of it composed again, and another take, or the loop, heard at the same bar.
/** A seed that no take of this loop has yet. */
function freshSeed(loopKey, from) {
  const used = state.view.takes.filter((take) => take.loop_key === loopKey).map((take) => take.seed);
  if (state.run && state.run.asked) used.push(state.run.asked.seed);
  let seed = from;
  while (used.includes(seed)) seed = (seed + 1) % 2147483648;
  return seed;
}

/** The selected beats that are new ones of the shown take: [first, end), counted from the loop's first; else null. */
function redoable() {
  const { store, range } = state;
  if (!store || !range || state.run || !takeOf(store.take)) return null;
  const first = Math.max(range[0], store.loop.n_beats);
  return first < range[1] ? [first, range[1]] : null;
}

function showAgain() {
  const range = redoable(), stem = find("[data-again-stem]");
  for (const node of [act("again"), stem]) node.hidden = !range;
  if (!range) return;
  setText(act("again"), `Try ${rangeWords(range, state.store.loop.beats_per_bar)} again`);
  act("again").disabled = state.loading > 0;
  const names = state.store.loop.present, shown = ["", ...(names.length > 1 ? STEMS.filter((name) => names.includes(name)) : [])];
  if (String(Array.from(stem.options, (one) => one.value)) === String(shown)) return;
  stem.replaceChildren(...shown.map((name) => make("option", { value: name }, name ? LANE_NAMES[name].toLowerCase() : "all stems")));
}

/** The selected part composed anew, all stems of it or one: a take of its own, heard from a bar before it on. */
async function tryAgain() {
  const range = redoable(), old = state.store, take = range && takeOf(old.take);
  if (!take || state.loading || !unlockSound(old)) return;
  const n = old.loop.n_beats, stem = find("[data-again-stem]").value || null;
  stopSound();
  state.loading += 1;
  status(`Trying ${rangeWords(range, old.loop.beats_per_bar)} again…`);
  refresh();
  const answer = await call("again", { take: take.number, first: range[0] - n, end: range[1] - n, stem, seed: freshSeed(take.loop_key, take.seed) });
  state.loading -= 1;
  if (!answer) return refresh();
  await adopt(answer.view);
  state.against = take.number;
  const store = await storeOf(answer.take);
  if (!store) return refresh();
  present(store, old.beats[Math.max(0, range[0] - old.loop.beats_per_bar)].start, true);
  setRange(...range);
  announce(`Take ${answer.take}: ${takeName(take)} with a new ${rangeWords(range, store.loop.beats_per_bar)}.`);
}

/** What the shown take is compared with: a take's number, 0 for the loop, or null. */
function otherSide() {
  const others = sides();
  if (!others.length || state.run) return null;
  return others.includes(state.against) ? state.against : others[others.length - 1];
}

/** All that the shown take, or the loop, can be compared with. */
function sides() {
  const { store, view } = state;
  if (!store || !view) return [];
  const takes = view.takes.filter((take) => take.loop_key === store.loop.key && take.number !== store.take && take.n_beats);
  return [...takes.map((take) => take.number), ...(store.take > 0 ? [0] : [])];
}

function sideName(number) { return number ? takeName(takeOf(number)) : "your loop"; }

function showCompare() {
  const other = otherSide(), button = act("ab"), select = find("#mf-against");
  button.disabled = other === null || state.loading > 0;
  button.setAttribute("aria-label", other === null ? "A/B: compare with another take" : `A/B: switch to ${sideName(other)} at the same bar`);
  select.replaceChildren(...sides().map((number) => make("option", { value: number }, sideName(number))));
  if (other !== null) select.value = other;
}

/** The other side at the same bar; where something plays it goes on there. The loop is heard as if it were played round. */
async function switchSides() {
  const from = state.store, other = otherSide();
  if (other === null || state.loading || !unlockSound(from)) return;
  const store = other ? await storeOf(other) : new Store(from.loop, 0);
  if (!store || state.store !== from) return;
  const sounding = player.playing && player.store === from && player.until === Infinity;
  const at = sounding ? player.at : state.cursor, round = from.newStart;
  if (from.take > 0) state.rounds = Math.floor(Math.min(at, from.frames - 1) / round);
  const frame = other === 0 ? at % round : from.take > 0 ? at : at % round + (state.rounds || 0) * round;
  state.against = Math.max(0, from.take);
  store.waiting = other === 0;
  present(store, Math.min(frame, store.frames), sounding && frame < store.frames);
  announce(`${sideName(other)}.`);
}
