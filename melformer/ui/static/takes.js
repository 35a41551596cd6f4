// The takes: play, compare, name, save, drag out, continue from.
function takeOf(number) { return state.view && state.view.takes.find((one) => one.number === number); }
function takeName(take) { return take.name || `Take ${take.number}`; }

function showTakes() {
  const takes = state.view ? state.view.takes : [];
  find("[data-takes]").hidden = takes.length === 0;
  find("[data-take-list]").replaceChildren(...takes.slice().reverse().map(takeRow));
  showPlaying();
}

function takeWords(take) {
  const knob = (name, show) => (take.steered && take.steered[name] !== take[name] ? `${show(take.steered[name])} → ${show(take[name])}` : show(take[name]));
  const words = [added(take), `seed ${take.seed}${take.edited ? ", partly redone" : ""}`, `variation ${knob("variation", (v) => `${Math.round(v * 100)}%`)}`, `temperature ${knob("temperature", trim)}`];
  if (state.loop && take.loop_key !== state.loop.key) words.unshift(`${take.loop_name}, ${trim(take.bpm)} BPM`);
  return words.join(" · ");
}

function takeRow(take) {
  const current = state.store && state.store.take === take.number;
  const button = (label, name, todo, kind = "mf-quiet") => make("button", { type: "button", class: kind, "aria-label": `${name} ${takeName(take)}`, onclick: todo }, label);
  const star = button("", take.favourite ? "Unmark" : "Mark as favourite:", () => call("favourite", { take: take.number, on: !take.favourite }).then(adopt), "mf-star");
  star.append(icon(take.favourite ? "starred" : "star"));
  star.setAttribute("aria-pressed", String(Boolean(take.favourite)));
  return make("li", { "aria-current": current ? "true" : undefined },
    playButton("take", take.number, `take ${take.number}`, () => playTake(take.number)),
    make("button", { type: "button", class: "mf-take", "aria-label": `Show ${takeName(take)} ${takeWords(take)}`, onclick: () => showTake(take.number) }, make("strong", {}, takeName(take)), " ", make("span", { class: "mf-hint" }, takeWords(take))),
    star,
    button("WAV", "Save as WAV:", () => save(take.number, "wav")),
    button("FLAC", "Save as FLAC:", () => save(take.number, "flac")),
    make("details", { class: "mf-menu" }, make("summary", { "aria-label": `More for ${takeName(take)}` }, "More"),
      make("div", {},
        button("Rename", "Rename", () => renameTake(take)),
        button("Continue from this", "Continue from this:", () => useTake(take.number)),
        button("24-bit WAV", "Save as 24-bit WAV:", () => save(take.number, "wav24")),
        button(".tiaf", "Save as .tiaf:", () => save(take.number, "tiaf")),
        button("Token image", "Token image of", () => savePicture(take.number)),
        button("Delete take", "Delete", () => removeTake(take.number)))));
}

/** A round button that plays, and pauses what it started. */
function playButton(kind, of, label, todo) {
  const button = make("button", { type: "button", class: "mf-round", "data-play": kind, "data-of": of, "data-label": label, "aria-label": `Play ${label}`, onclick: todo });
  button.append(icon("play"), icon("pause"));
  return button;
}

function playTake(number) {
  if (state.store && state.store.take === number && player.playing && player.store === state.store) return pause();
  if (state.store && state.store.take === number) return togglePlay();
  return showTake(number, true);
}

/** The store of a take: the one at hand, or fetched beat by beat, as after a reload. */
async function storeOf(number) {
  const take = takeOf(number);
  if (!take) return null;
  let store = state.stores.get(number);
  if (state.store && state.store.take === number) store = state.store;
  if (store && store.loop.key === take.loop_key && store.nNew === take.n_beats) return store;
  const loop = await rememberLoop(take.loop_key);
  if (!loop) return null;
  store = new Store(loop, number);
  while (store.nNew < take.n_beats) {
    const beats = await call("beats", { take: number, first: store.nNew, last: Math.min(take.n_beats, store.nNew + 32) });
    if (!beats || !beats.length) return null;
    beats.forEach((beat) => store.add(beat));
  }
  return store;
}

/** Show a take, and its loop with it: what stands above the timeline is always what the timeline shows. */
async function showTake(number, andPlay = false) {
  if (state.run) return;
  if (andPlay && state.store && !unlockSound(state.store)) return;
  const store = await storeOf(number);
  if (!store) return;
  if (state.view.loop_key !== store.loop.key) {
    const view = await call("reopen", { key: store.loop.key });
    if (!view) return;
    state.view = view;
  }
  // Takes of one loop are compared at the same place: another one goes on where this one was.
  const same = player.playing && player.until === Infinity && player.store.loop === store.loop;
  if (!same) stopSound();
  present(store, same && player.at < store.frames ? player.at : 0, andPlay);
}

/** Show a store with the playhead at `frame`, and play it from there, or stand. */
function present(store, frame, andPlay) {
  if (state.loop !== store.loop) showLoop(store.loop);
  if (!andPlay) stopSound();
  store.shareStems();
  Object.assign(state, { store, note: "", cursor: frame, range: null });
  timeline.show(store);
  timeline.follow = true;
  showTakes();
  if (andPlay) player.play(store, frame);
  refresh();
  showPosition();
  fetchStems(store);
}

/** What can be done with the take that is shown stands right under the transport, in view. */
function showResult(take) {
  const box = find("[data-result]");
  box.hidden = !take || !take.n_beats;
  find("[data-mf]").classList.toggle("mf-has-result", !box.hidden);
  if (box.hidden) return;
  setText(find("[data-result-name]"), takeName(take));
  setText(find("[data-result-facts]"), `${added(take)} · seed ${take.seed}`);
  act("stems-zip").hidden = !hasStems(state.store);
}

function part() { return find("#mf-part").value + (find("[data-looped]").checked ? "-looped" : ""); }

async function save(number, kind) {
  const path = await call("export", { take: number, kind, part: part() });
  if (!path) return;
  download(path);
  announce(`${path.split("/").pop()} is saved.`);
}

async function saveAll() {
  const path = await call("zip", { part: part() });
  if (path) download(path);
}

/** The take leaves the page as a file. */
function wireDragOut() {
  dragOut(act("drag"), part, (store) => store.take > 0 && call("export", { take: store.take, kind: "wav", part: part() }));
  act("drag").addEventListener("click", () => state.store && save(state.store.take, "wav"));
}

/** What is dragged out of the page by `handle` is a file; it has to exist before the drag begins. `what` names it among those of a store. */
function dragOut(handle, what, write) {
  const name = () => `${state.store && state.store.loop.key} ${state.store && state.store.take} ${state.store && state.store.nNew} ${what()}`;
  const ready = { name: "", path: null };
  const prepare = async () => {
    if (!state.store || ready.name === name() || state.run) return;
    Object.assign(ready, { name: name(), path: null });
    ready.path = await write(state.store);
  };
  for (const event of ["pointerenter", "focus", "pointerdown"]) handle.addEventListener(event, prepare);
  handle.addEventListener("dragstart", (event) => {
    if (!ready.path || ready.name !== name()) return event.preventDefault();
    const address = addressOf(ready.path);
    event.dataTransfer.effectAllowed = "copy";
    event.dataTransfer.setData("DownloadURL", `audio/wav:${ready.path.split("/").pop()}:${address}`);
    event.dataTransfer.setData("text/uri-list", address);
  });
}

function renameTake(take) {
  const field = find("#mf-rename");
  field.value = takeName(take);
  const dialog = find("[data-rename]");
  dialog.onclose = async () => {
    if (dialog.returnValue === "ok") await adopt(await call("rename", { take: take.number, name: field.value }));
  };
  dialog.returnValue = "";
  dialog.showModal();
  field.select();
}

async function useTake(number) {
  stopSound();
  const view = await call("use", { take: number });
  if (view) await adopt(view);
}

async function removeTake(number) {
  const shown = state.store && state.store.take === number;
  if (shown) stopSound();
  const view = await call("remove", { take: number });
  if (!view) return;
  if (shown) showLoop(state.loop);
  await adopt(view);
  announce(`Take ${number} deleted. Undo brings it back.`);
}

/** All tokens of a take as a picture: one square a token, a line a codebook. */
async function savePicture(number) {
  const store = await storeOf(number);
  if (!store) return;
  const size = 6, columns = store.beats.reduce((n, beat) => n + beat.codes.columns, 0);
  const perRow = Math.min(columns, 1024), books = store.loop.codes.codebooks;
  const rows = Math.ceil(columns / perRow);
  const canvas = make("canvas", { width: perRow * size, height: rows * (books * size + 12) });
  const g = canvas.getContext("2d");
  g.fillStyle = getComputedStyle(timeline.scroll).getPropertyValue("--mf-page");
  g.fillRect(0, 0, canvas.width, canvas.height);
  g.imageSmoothingEnabled = false;
  let at = 0;
  for (const beat of store.beats) {
    g.drawImage(tokenTile(beat, timeline.colours), (at % perRow) * size, Math.floor(at / perRow) * (books * size + 12), beat.codes.columns * size, books * size);
    at += beat.codes.columns;
  }
  saveAs(canvas.toDataURL("image/png"), `${store.loop.name}_take${number}_tokens.png`);
}

// Several takes at once: no sound until they are there, then the model's pick is shown.
function chooseTakes() {
  if (!state.loop || state.busy || state.loading) return;
  const asked = readRequest();
  if (asked.n_beats === null) return showError("Set a length in bars or beats: endless works for a single take only.", find("[data-unit]"));
  if (!checkRequest(asked)) return;
  showError("");
  stopSound();
  const run = ++state.lastRun, n_takes = Number(find("#mf-takes").value);
  state.run = { run, store: null, asked, choosing: true, started: true, known: state.view.takes.map((take) => take.number), costs: [], lastMessage: performance.now() };
  state.busy = true;
  status(`Generating ${plural(n_takes, "take")}…`);
  trigger("choose", { token: state.token, run, ...asked, n_takes });
  refresh();
}

function showMaking(message) {
  const done = message.n_beats ? ` ${Math.round((100 * message.n_beats) / state.run.asked.n_beats)}%` : "";
  status(`Generating ${plural(message.n_takes, "take")}…${done}`);
}

async function finishChoice(message) {
  endRun(state.run);
  await adopt(message.view);
  if (!message.takes.length) {
    state.note = message.message;
    return refresh();
  }
  const words = `${plural(message.takes.length, "take")} generated. The model's pick is take ${message.takes[0]}; all of them are in the list.`;
  await showTake(message.takes[0]);
  state.note = words;
  announce(words);
  refresh();
}

async function finishLostChoice(current, view) {
  const made = view.takes.filter((take) => !current.known.includes(take.number)).map((take) => take.number);
  await finishChoice({ view, takes: made, message: made.length ? "" : "The connection dropped. Generate again." });
}
