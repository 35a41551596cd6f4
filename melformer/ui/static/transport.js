// Play and pause, seeking, the braces of the loop, and which button is the main one.
const PROGRESS_EVERY_MS = 150;

function report(what) {
  if (what === "ended" || what === "stopped") state.cursor = state.store && player.store === state.store ? restAt(what) : state.cursor;
  showPosition();
  if (what === "position") showProgress();
  if (what !== "position" && what !== "state") refresh();
}

/** After a single beat the playhead goes back to its start; otherwise it stays where it was heard last. */
function restAt(what) {
  if (player.until !== Infinity) return player.first;
  return what === "ended" ? state.store.frames : Math.min(player.at, state.store.frames);
}

function showPosition() {
  if (!state.store) return;
  if (player.playing && player.store === state.store) timeline.place(player.position(), player.moving ? player.limit() : null);
  else timeline.place(Math.min(state.cursor, state.store.frames));
}

let shownAt = 0;
function showProgress() {
  const store = state.store, now = performance.now();
  if (now - shownAt < PROGRESS_EVERY_MS || now < state.noteUntil) return;
  shownAt = now;
  if (!store || player.store !== store || (state.run && !state.run.started)) return;
  const k = store.beatAt(player.at), perBar = store.loop.beats_per_bar;
  const parts = [`${k < store.loop.n_beats ? "Your loop" : "New part"} · bar ${barAndBeat(k, perBar)}${lengthOf(store)}`];
  if (state.run && state.run.costs.length && !window.matchMedia("(max-width: 640px)").matches) {
    const beat = 60 / store.loop.bpm, cost = state.run.costs.slice(-16).reduce((a, b) => a + b, 0) / Math.min(16, state.run.costs.length);
    parts.push(`${Math.max(0, player.aheadSeconds()).toFixed(1)} s ahead`);
    if (cost > 0) parts.push(`${(beat / cost).toFixed(cost > beat / 10 ? 1 : 0)}× real time`);
  }
  if (player.catchingUp) parts.push("Buffering…");
  status(parts.join(" · "));
}

function lengthOf(store) {
  if (state.run && state.run.asked.n_beats === null) return "";
  const n = store.loop.n_beats + (state.run && state.run.first !== undefined ? state.run.first + state.run.asked.n_beats : store.nNew);
  return ` of ${Math.ceil(n / store.loop.beats_per_bar)}`;
}

/** What can be pressed, and one sentence on where things stand. */
function refresh() {
  const { loop, store, run, view } = state;
  const take = view && store && view.takes.find((one) => one.number === store.take);
  const busy = state.busy || state.loading > 0;
  swapMain(run ? "stop" : take && take.n_beats ? "keep" : "continue", !loop || (busy && !run));
  act("another").disabled = !loop || !view || state.loading > 0 || (run ? !run.started || !run.asked || run.choosing : !view.takes.length);
  act("choose").disabled = !loop || busy;
  act("undo").disabled = !view || !view.can_undo || busy;
  act("redo").disabled = !view || !view.can_redo || busy;
  showPlaying();
  for (const name of ["play", "start"]) act(name).disabled = !store || state.loading > 0;
  act("skip").disabled = !store || !store.nNew;
  placeBraces();
  if (take && store.nNew) state.stores.set(store.take, store);
  showResult(take);
  showCompare();
  if (run || player.playing || state.loading) return;
  if (!loop) status("");
  else if (take) status(state.note || "Press Extend to carry on, or New take for another idea.");
  else status(state.note || "Ready. Press Continue to hear your loop and what comes next.");
}

/** Continue, Extend and Stop share one place; who pressed one by keyboard stands on the next. */
function swapMain(name, disabled) {
  const shown = act(name), focused = ["continue", "keep", "stop"].map(act).includes(document.activeElement);
  shown.disabled = disabled;
  for (const one of ["continue", "keep", "stop"]) act(one).hidden = one !== name;
  if (focused) shown.focus({ preventScroll: true });
}

/** Whatever sounds has a Pause: on the transport, and where it was started. */
function showPlaying() {
  const playing = player.playing, loud = state.store && player.store === state.store && playing;
  const main = act("play");
  main.setAttribute("aria-label", playing ? "Pause" : "Play");
  main.classList.toggle("mf-on", playing);
  for (const button of findAll("[data-play]")) {
    const [kind, what] = [button.dataset.play, button.dataset.of];
    const on = loud && (kind === "take" ? state.store.take === Number(what) : state.example === what && state.store.take <= 0);
    button.classList.toggle("mf-on", Boolean(on));
    button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${button.dataset.label}`);
  }
}

function play(from) {
  if (!state.store || !unlockSound(state.store)) return;
  timeline.follow = true;
  player.play(state.store, from);
}

function togglePlay() {
  if (!state.store || state.loading) return;
  if (player.playing) return pause();
  const range = rangeFrames(state.store);
  const from = state.cursor >= state.store.playable ? 0 : state.cursor;
  play(player.repeat && range && (from < range[0] || from >= range[1]) ? range[0] : from);
}

/** A stream without an end is not made for nobody. */
function pause() {
  stopSound();
  if (state.run && state.run.started && state.run.asked.n_beats === null) stop();
  refresh();
}

function stopSound() { player.stop(); }

function toStart() { seek(0); }

function skipToNew() {
  if (!state.store || !state.store.nNew) return;
  const from = leadFrom(state.store, find("#mf-lead").value === "all" ? "bar" : find("#mf-lead").value);
  play(from);
}

/** While something plays, playing goes on from there; otherwise the playhead waits there. */
function seek(frame) {
  if (!state.store) return;
  const to = clamp(frame, 0, state.store.playable);
  if (player.playing && player.until === Infinity && player.store === state.store) return play(to);
  stopSound();
  state.cursor = to;
  showPosition();
}

/** A click moves the playhead; when nothing plays, the beat itself is heard too. */
function seekBeat(k) {
  const store = state.store, beat = store.beats[k];
  const going = player.playing && player.until === Infinity;
  seek(beat.start);
  if (going || !unlockSound(store)) return;
  player.play(store, beat.start, Math.min(beat.start + beat.frames, store.playable));
}

function playFrom(k) { play(state.store.beats[k].start); }

/** Where playing begins so that the new part is heard after its lead-in: a frame. */
function leadFrom(store, lead) {
  const n = store.loop.n_beats, beats = { none: 0, beat: 1, bar: store.loop.beats_per_bar, all: n }[lead];
  return store.beats[Math.max(0, n - beats)] && beats ? store.beats[Math.max(0, n - beats)].start : store.newStart;
}

// The braces: a range of beats that is played round, and that the loop can be cropped to.
function barEdges(store) {
  const n = store.beats.length, bar = store.loop.beats_per_bar, edges = [];
  for (let k = 0; k < n; k += bar) edges.push(k);
  return [...edges, n];
}

function rangeFrames(store) {
  const range = state.range;
  if (!range || !store.beats[range[0]]) return null;
  const last = store.beats[Math.min(range[1], store.beats.length) - 1];
  return [store.beats[range[0]].start, last.start + last.frames];
}

function setRange(first, last) {
  const n = state.store ? state.store.beats.length : 0;
  const range = [clamp(first, 0, n - 1), clamp(last, first + 1, n)];
  state.range = range[0] === 0 && range[1] === n ? null : range;
  placeBraces();
  player.requeue();
}

/** A bar by its number; once more, and nothing is selected. */
function selectBar(k) {
  const bar = state.store.loop.beats_per_bar, first = k - (k % bar), last = Math.min(first + bar, state.store.beats.length);
  if (state.range && state.range[0] === first && state.range[1] === last) setRange(0, Infinity);
  else setRange(first, last);
}

function placeBraces() {
  const store = state.store, shown = Boolean(store) && store.beats.length > 1;
  const range = shown ? state.range || [0, store.beats.length] : null;
  for (const name of ["first", "last"]) {
    const handle = find(`[data-handle="${name}"]`);
    handle.hidden = !shown;
    if (!shown) continue;
    const k = range[name === "first" ? 0 : 1];
    handle.style.transform = `translateX(${k * timeline.beatWidth}px)`;
    handle.setAttribute("aria-valuemin", 1);
    handle.setAttribute("aria-valuemax", store.beats.length);
    handle.setAttribute("aria-valuenow", name === "first" ? k + 1 : k);
    handle.setAttribute("aria-valuetext", `${name === "first" ? "from" : "to"} beat ${name === "first" ? k + 1 : k}`);
  }
  timeline.range = shown ? state.range : null;
  timeline.looping = player.repeat;
  timeline.redraw();
  const inLoop = shown && state.range && store.loop === state.loop && range[1] <= store.loop.n_beats && !state.busy;
  act("crop").hidden = !inLoop;
  act("whole").hidden = !(shown && state.range);
  showAgain();
  if (inLoop) setText(act("crop"), `Crop to ${rangeWords(range, store.loop.beats_per_bar)}`);
}

function rangeWords([first, last], perBar) {
  if (first % perBar || last % perBar) return first + 1 === last ? `beat ${last}` : `beats ${first + 1}–${last}`;
  return last - first === perBar ? `bar ${last / perBar}` : `bars ${first / perBar + 1}–${last / perBar}`;
}

/** Braces snap to bars, with Shift to beats. */
function moveBrace(name, k, toBeats) {
  const store = state.store, range = state.range || [0, store.beats.length];
  const edges = toBeats ? Array.from({ length: store.beats.length + 1 }, (_, b) => b) : barEdges(store);
  const at = edges.reduce((best, edge) => (Math.abs(edge - k) < Math.abs(best - k) ? edge : best), edges[0]);
  if (name === "first") setRange(Math.min(at, range[1] - 1), range[1]);
  else setRange(range[0], Math.max(at, range[0] + 1));
}

function stepBrace(name, step, byBeat) {
  const store = state.store, range = state.range || [0, store.beats.length], k = range[name === "first" ? 0 : 1];
  const edges = byBeat ? [k - 1, k + 1] : barEdges(store);
  const next = step > 0 ? edges.find((edge) => edge > k) : edges.filter((edge) => edge < k).pop();
  if (next !== undefined) moveBrace(name, next, byBeat);
}

function wireBrace(handle) {
  const name = handle.dataset.handle;
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = timeline.scroll.getBoundingClientRect();
    moveBrace(name, (event.clientX - box.left + timeline.scroll.scrollLeft) / timeline.beatWidth, event.shiftKey);
  });
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    stepBrace(name, step, event.shiftKey);
  });
}

async function crop() {
  const [first, last] = state.range;
  stopSound();
  state.range = null;
  await change("crop", { first, last });
}

function setRepeat(on) {
  player.repeat = on;
  placeBraces();
  player.requeue();
}
