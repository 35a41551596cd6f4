// A loop from the microphone: a count-in, then as many bars as were asked for, sample for sample.
const RECORDER_SOURCE = `registerProcessor("melformer-recorder", class extends AudioWorkletProcessor {
  process(inputs) { if (inputs[0].length) this.port.postMessage(inputs[0].map((one) => one.slice())); return true; }
});`;
const recording = { stream: null, context: null, chunks: [], timer: 0 };

function openRecorder() {
  const dialog = find("[data-record]");
  setText(find("[data-record-status]"), "You get four clicks, then play. Wear headphones so the clicks aren't recorded.");
  act("record-start").disabled = false;
  dialog.onclose = endRecording;
  dialog.showModal();
}

async function startRecording() {
  const bpm = Number(find("#mf-record-bpm").value), bars = Number(find("#mf-record-bars").value);
  if (!(bpm >= 40 && bpm <= 240)) return showError("Tempo must be 40–240 BPM.", find("#mf-record-bpm"));
  if (!(Number.isInteger(bars) && bars >= 1 && bars * 4 <= state.limits.prompt_beats)) return showError(`Record 1 to ${Math.floor(state.limits.prompt_beats / 4)} bars.`, find("#mf-record-bars"));
  try {
    recording.stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  } catch (error) {
    const framed = window.top !== window ? ` It may be blocked inside another page: open ${location.href} directly.` : "";
    return setText(find("[data-record-status]"), `The microphone can't be used. Allow it in your browser's settings for this page.${framed}`);
  }
  act("record-start").disabled = true;
  const context = recording.context = new AudioContext();
  const url = URL.createObjectURL(new Blob([RECORDER_SOURCE], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  URL.revokeObjectURL(url);
  const beat = 60 / bpm, first = context.currentTime + 0.3, start = first + 4 * beat, seconds = bars * 4 * beat;
  for (let k = 0; k < 4; k++) click(context, first + k * beat, k === 0);
  const node = new AudioWorkletNode(context, "melformer-recorder", { numberOfOutputs: 1 });
  recording.chunks = [];
  recording.first = null;
  node.port.onmessage = (event) => {
    if (recording.first === null) recording.first = context.currentTime;
    recording.chunks.push(event.data);
  };
  context.createMediaStreamSource(recording.stream).connect(node);
  recording.timer = setInterval(() => {
    const t = context.currentTime;
    if (t < start) setText(find("[data-record-status]"), `Count-in: ${Math.max(1, Math.floor((t - first) / beat) + 1)}`);
    else if (t < start + seconds + 0.1) setText(find("[data-record-status]"), `Recording bar ${Math.min(bars, Math.floor((t - start) / (4 * beat)) + 1)} of ${bars}`);
    else finishRecording(start, seconds, bpm);
  }, 50);
}

function click(context, at, accent) {
  const tone = context.createOscillator(), gain = context.createGain();
  tone.frequency.value = accent ? 1600 : 1100;
  gain.gain.setValueAtTime(0.4, at);
  gain.gain.exponentialRampToValueAtTime(0.001, at + 0.06);
  tone.connect(gain).connect(context.destination);
  tone.start(at);
  tone.stop(at + 0.07);
}

function finishRecording(start, seconds, bpm) {
  clearInterval(recording.timer);
  const rate = recording.context.sampleRate, n = Math.round(seconds * rate), skip = Math.max(0, Math.round((start - recording.first) * rate));
  const count = Math.min(2, recording.chunks[0] ? recording.chunks[0].length : 1);
  const channels = Array.from({ length: count }, (_, c) => joinChunks(recording.chunks.map((chunk) => chunk[Math.min(c, chunk.length - 1)]), skip, n));
  find("[data-record]").close();
  openFile(new File([encodeWav(channels, rate)], `recording_${trim(bpm)}bpm.wav`, { type: "audio/wav" }), { bpm, start_s: 0 });
}

/** `n` samples from `skip` on; what is missing at the end is silence. */
function joinChunks(chunks, skip, n) {
  const all = new Float32Array(n);
  let at = -skip;
  for (const chunk of chunks) {
    for (let k = Math.max(0, -at); k < chunk.length && at + k < n; k++) all[at + k] = chunk[k];
    at += chunk.length;
  }
  return all;
}

function endRecording() {
  clearInterval(recording.timer);
  if (recording.stream) recording.stream.getTracks().forEach((track) => track.stop());
  if (recording.context) recording.context.close();
  Object.assign(recording, { stream: null, context: null });
}
