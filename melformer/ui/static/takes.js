// The list of takes: play, compare, save, use as the loop.
function showTakes() {
  const takes = state.view ? state.view.takes : [];
  find("[data-takes]").hidden = takes.length === 0;
  find("[data-take-list]").replaceChildren(...takes.slice().reverse().map(takeRow));
}

function takeRow(take) {
  const current = state.store && state.store.take === take.number;
  const words = `seed ${take.seed} · ${plural(take.n_beats, "new beat")} · variation ${Math.round(take.variation * 100)}% · temperature ${trim(take.temperature)}`;
  const button = (label, name, todo) => make("button", { type: "button", class: "mf-plain", "aria-label": `${name} take ${take.number}`, onclick: todo }, label);
  const row = make("li", current ? { "aria-current": "true" } : {},
    make("button", { type: "button", class: "mf-play", "aria-label": `Play take ${take.number}`, onclick: () => showTake(take.number, true) }, "Play"),
    make("div", { class: "mf-take" }, make("strong", {}, `Take ${take.number}`), make("span", { class: "mf-hint" }, words)),
    button("WAV", "Save as WAV", () => save(take.number, "wav")),
    button("FLAC", "Save as FLAC", () => save(take.number, "flac")),
    make("details", { class: "mf-menu" }, make("summary", { "aria-label": `More for take ${take.number}` }, "More"),
      make("div", {},
        button("24-bit WAV", "Save as 24-bit WAV", () => save(take.number, "wav24")),
        button(".tiaf", "Save as .tiaf", () => save(take.number, "tiaf")),
        button("Tokens as PNG", "Tokens as PNG of", () => savePicture(take.number)),
        button("Use as the loop", "Use as the loop:", () => useTake(take.number)),
        button("Remove", "Remove", () => call("remove", { take: take.number }).then(adopt)))));
  return row;
}

/** The store of a take: the one at hand, or fetched beat by beat, as after a reload. */
async function storeOf(number) {
  const take = state.view.takes.find((one) => one.number === number);
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

async function showTake(number, play) {
  if (state.run) return;
  if (play && state.store && !unlockSound(state.store)) return;
  const store = await storeOf(number);
  if (!store) return;
  // Takes of one loop are compared at the same place: another one goes on where this one was.
  const same = player.playing && player.until === Infinity && player.store.loop === store.loop;
  const from = same && player.at < store.frames ? player.at : 0;
  state.store = store;
  state.note = "";
  timeline.show(store);
  timeline.follow = true;
  showTakes();
  if (play) player.play(store, from);
  refresh();
}

async function save(number, kind) {
  const looped = find("[data-looped]").checked ? "-looped" : "";
  const path = await call("export", { take: number, kind, part: find("#mf-part").value + looped });
  if (path) {
    download(path);
    announce(`${path.split("/").pop()} is saved.`);
  }
}

async function saveAll() {
  const path = await call("zip");
  if (path) download(path);
}

async function useTake(number) {
  silence();
  const view = await call("use", { take: number });
  if (view) await adopt(view);
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
  const shown = timeline.store, tiles = timeline.tiles;
  timeline.store = store;
  timeline.tiles = new Map();
  let at = 0;
  store.beats.forEach((beat, k) => {
    g.drawImage(timeline.tile(k), (at % perRow) * size, Math.floor(at / perRow) * (books * size + 12), beat.codes.columns * size, books * size);
    at += beat.codes.columns;
  });
  timeline.store = shown;
  timeline.tiles = tiles;
  const link = make("a", { href: canvas.toDataURL("image/png"), download: `${store.loop.name}_take${number}_tokens.png` });
  link.click();
}

function chooseTakes() {
  if (!state.loop) return;
  const asked = wish();
  if (!checkWish(asked)) return;
  showError("");
  silence();
  const run = ++state.lastRun;
  state.run = { run, store: state.store, asked, started: true, costs: [], lastMessage: performance.now() };
  state.busy = true;
  status("Making takes …");
  trigger("choose", { token: state.token, run, ...asked, n_takes: Number(find("#mf-takes").value) });
  refresh();
}

async function finishChoice(message) {
  state.run = null;
  state.busy = false;
  await adopt(message.view);
  if (message.takes.length) await showTake(message.takes[0], false);
  announce(`${plural(message.takes.length, "take")} made. Take ${message.takes[0]} fits best, by the model's own judgement; choose any in the list.`);
}
