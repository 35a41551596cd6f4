// The keyboard: space plays and stops, R makes another take, S saves.
const TYPED_IN = "input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea";

/** On a button that was reached by keyboard, space presses it; after a click it is the transport's again. */
function wireKeys() {
  let byPointer = true;
  const isTransport = (event) => {
    const at = event.target;
    if (event.key !== " " || (at.closest && at.closest(TYPED_IN))) return false;
    return byPointer || !(at.closest && at.closest("button, summary, [type=checkbox], [type=radio]"));
  };
  document.addEventListener("pointerdown", () => { byPointer = true; }, true);
  document.addEventListener("keyup", (event) => { if (isTransport(event)) event.preventDefault(); }); // else Firefox presses
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") byPointer = false;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.target;
    if (at.closest && at.closest(TYPED_IN)) return;
    if (isTransport(event)) {
      event.preventDefault();
      if (!event.repeat) toggle();
    } else if (find("#mf-play").hidden || event.repeat) return;
    else if (event.key === "r" || event.key === "R") act("another").click();
    else if ((event.key === "s" || event.key === "S") && state.store && state.store.take > 0) save(state.store.take, "wav");
  });
}

function toggle() {
  if (state.run || player.playing) stop();
  else if (find("#mf-play").hidden) act("decode").click();
  else if (state.store && state.store.take > 0) player.play(state.store, 0).then(refresh);
  else continueLoop();
}
