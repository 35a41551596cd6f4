// Files that the server does not read, or that are too long: decoded here, cropped to a region, and sent as WAV.
const SERVER_READS = /\.(wav|wave|flac|ogg|oga|opus|mp3|aif|aiff|aifc)$/i;
const REGION_FROM_S = 60, LONGEST_S = 60, MAX_DECODE_S = 1200, FALLBACK_RATE = 44100;

function sentenceError(text) { return Object.assign(new Error(text), { forPeople: true }); }
function megabytes(n) { return `${n < 1e6 ? (n / 1e6).toFixed(1) : Math.ceil(n / 1e6)} MB`; }
function formats() { return "Use WAV, AIFF, FLAC, MP3, OGG, Opus or M4A."; }

/**
 * The file as it is uploaded: itself, or the chosen region as WAV; null when the visitor thinks better of it.
 * `part.region` is chosen once for the files that share it.
 */
async function prepareFile(file, part = {}) {
  if (!file.size) throw sentenceError(`${file.name} is empty.`);
  const limit = state.limits.upload_mb * 1e6, readable = SERVER_READS.test(file.name);
  const seconds = readable ? await durationOf(file) : null;
  if (readable && file.size <= limit && (seconds === null || seconds <= REGION_FROM_S)) return file;
  if (file.size > 40 * limit) throw sentenceError(`${file.name} is ${megabytes(file.size)}; the limit is ${megabytes(40 * limit)}. Trim it first.`);
  const bytes = await file.arrayBuffer();
  const pcm = wavOf(bytes) || (await decodeAny(bytes, file));
  if (!pcm) return file.size <= limit ? file : tooLarge(file);
  const most = Math.min(LONGEST_S, (0.99 * limit) / pcm.bytesPerSecond);
  if (pcm.seconds > most && !part.region) part.region = await chooseRegion(file.name, pcm, most);
  const region = pcm.seconds > most ? part.region : [0, pcm.seconds];
  if (!region) return null;
  const name = `${file.name.replace(/\.[a-z0-9]+$/i, "")}.wav`;
  return new File([pcm.slice(region[0], region[1])], name, { type: "audio/wav" });
}

function tooLarge(file) {
  throw sentenceError(`${file.name} is ${megabytes(file.size)}; the limit is ${state.limits.upload_mb} MB. Trim it, or use FLAC.`);
}

/** Seconds, by the browser's own reading of the file's header; null where it cannot tell. */
function durationOf(file) {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(file), audio = new Audio();
    const done = (seconds) => { clearTimeout(timer); URL.revokeObjectURL(url); resolve(Number.isFinite(seconds) ? seconds : null); };
    const timer = setTimeout(() => done(NaN), 3000);
    audio.preload = "metadata";
    audio.onloadedmetadata = () => done(audio.duration);
    audio.onerror = () => done(NaN);
    audio.src = url;
  });
}

async function decodeAny(bytes, file) {
  let decoded;
  try {
    decoded = await new OfflineAudioContext(2, 1, rateOf(bytes)).decodeAudioData(bytes);
  } catch (error) {
    if (!SERVER_READS.test(file.name)) throw sentenceError(`${file.name} isn't a supported audio file. ${formats()}`);
    return null; // the server says what is wrong with it
  }
  if (decoded.duration > MAX_DECODE_S) throw sentenceError(`${file.name} is ${Math.round(decoded.duration / 60)} minutes long; the limit is ${MAX_DECODE_S / 60}. Trim it first.`);
  if (decoded.duration < 0.01) throw sentenceError(`${file.name} has no sound in it.`);
  const channels = Array.from({ length: Math.min(2, decoded.numberOfChannels) }, (_, c) => decoded.getChannelData(c));
  const rate = decoded.sampleRate;
  return { seconds: decoded.duration, rate, channels, bytesPerSecond: 2 * channels.length * rate, slice: (from, to) => encodeWav(channels.map((one) => one.subarray(Math.round(from * rate), Math.round(to * rate))), rate) };
}

/** The rate of a FLAC file or an MP4's sound, so that decoding does not resample; else what most files have. */
function rateOf(bytes) {
  const view = new DataView(bytes), head = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  const good = (rate) => (rate >= 8000 && rate <= 96000 ? rate : FALLBACK_RATE);
  if (bytes.byteLength > 42 && head(0) === "fLaC") return good(view.getUint32(18) >>> 12);
  const most = Math.min(bytes.byteLength - 40, 1 << 22);
  if (bytes.byteLength > 12 && head(4) === "ftyp") {
    for (let at = 0; at < most; at++) if (view.getUint32(at) === 0x6d703461) return good(view.getUint16(at + 28)); // "mp4a"
  }
  return FALLBACK_RATE;
}

/** A PCM WAV file is cropped byte for byte, never decoded: `slice` gives a WAV of the same samples. Null for others. */
function wavOf(bytes) {
  const view = new DataView(bytes), tag = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 44 || tag(0) !== "RIFF" || tag(8) !== "WAVE") return null;
  let format = null, data = null;
  for (let at = 12; at + 8 <= bytes.byteLength; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) & 1)) {
    const size = Math.min(view.getUint32(at + 4, true), bytes.byteLength - at - 8);
    if (tag(at) === "fmt " && size >= 16) format = { at: at + 8, size, kind: view.getUint16(at + 8, true), channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), block: view.getUint16(at + 20, true), bits: view.getUint16(at + 22, true) };
    if (tag(at) === "data") { data = { at: at + 8, size }; break; }
  }
  if (!format || !data || !format.block || !format.rate || ![1, 0xfffe].includes(format.kind) || ![16, 24].includes(format.bits)) return null;
  const frames = Math.floor(data.size / format.block), wide = format.bits / 8;
  const channel = (c) => {
    const out = new Float32Array(frames);
    for (let k = 0; k < frames; k++) out[k] = view.getInt16(data.at + k * format.block + c * wide + wide - 2, true) / 32768;
    return out;
  };
  const channels = Array.from({ length: Math.min(2, format.channels) }, (_, c) => channel(c));
  const slice = (from, to) => {
    const first = Math.round(from * format.rate), last = Math.min(frames, Math.round(to * format.rate));
    return wavFile(new Uint8Array(bytes, format.at, format.size), new Uint8Array(bytes, data.at + first * format.block, (last - first) * format.block));
  };
  return { seconds: frames / format.rate, rate: format.rate, channels, bytesPerSecond: format.block * format.rate, slice };
}

function wavFile(format, data) {
  const head = new DataView(new ArrayBuffer(28 + format.length)), text = (at, word) => [...word].forEach((c, k) => head.setUint8(at + k, c.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 20 + format.length + data.length, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, format.length, true);
  new Uint8Array(head.buffer).set(format, 20);
  text(20 + format.length, "data");
  head.setUint32(24 + format.length, data.length, true);
  return new Blob([head, data], { type: "audio/wav" });
}

function encodeWav(channels, rate) {
  const n = channels.length, format = new DataView(new ArrayBuffer(16)), pcm = new Int16Array(channels[0].length * n);
  format.setUint16(0, 1, true);
  format.setUint16(2, n, true);
  format.setUint32(4, rate, true);
  format.setUint32(8, rate * n * 2, true);
  format.setUint16(12, n * 2, true);
  format.setUint16(14, 16, true);
  channels.forEach((one, c) => { for (let k = 0; k < one.length; k++) pcm[k * n + c] = clamp(Math.round(one[k] * 32768), -32768, 32767); });
  return wavFile(new Uint8Array(format.buffer), new Uint8Array(pcm.buffer));
}
