// Plays PCM16 chunks one after another, sample for sample. Each chunk knows its place on the timeline,
// so a position report is exact also after a seek or a repeat. Where a chunk brings its stems, each has a gain:
// `other` is the mix less drums and bass, so with all gains at 1 the mix leaves untouched.
const REPORT_EVERY = 32; // blocks of 128 samples; the page moves the playhead on by the clock in between
const RAMP_S = 0.01; // a lane is muted without a click
class MelformerFifo extends AudioWorkletProcessor {
  constructor() {
    super();
    this.reset(0);
    this.blocks = 0;
    this.gains = new Float32Array([1, 1, 1]);
    this.wanted = new Float32Array([1, 1, 1]);
    this.port.onmessage = (event) => this.receive(event.data);
  }

  reset(run) {
    this.chunks = [];
    this.offset = 0;
    this.played = 0;
    this.starved = 0;
    this.at = undefined;
    this.open = false;
    this.run = run;
  }

  receive(message) {
    if (message.clear !== undefined) this.reset(message.clear);
    if (message.gains) this.wanted.set(message.gains);
    if (message.pcm) {
      this.chunks.push(message);
      this.open = true;
    }
    if (message.cut) this.cut();
    if (message.last) this.open = false; // nothing more is expected, so silence is no fault
  }

  /** Drop what follows the chunk that sounds; the page hears where that one ends. */
  cut() {
    this.chunks.length = Math.min(1, this.chunks.length);
    const chunk = this.chunks[0];
    const frames = chunk ? chunk.pcm.length / chunk.channels : 0;
    this.port.postMessage({ run: this.run, cut: true, pushed: this.played + frames - this.offset, next: chunk ? chunk.at + frames : this.at });
  }

  process(inputs, outputs) {
    const output = outputs[0];
    const length = output[0].length;
    let written = 0;
    while (written < length && this.chunks.length) {
      const chunk = this.chunks[0];
      const frames = chunk.pcm.length / chunk.channels;
      const n = Math.min(length - written, frames - this.offset);
      if (chunk.stems && !this.unity()) this.mix(chunk, output, written, n);
      else this.copy(chunk, output, written, n);
      written += n;
      this.offset += n;
      this.played += n;
      this.at = chunk.at + this.offset;
      if (this.offset === frames) {
        this.chunks.shift();
        this.offset = 0;
      }
    }
    if (written < length && this.open) this.starved += length - written;
    const ranDry = written > 0 && !this.chunks.length; // an end or a gap: the page must know at once
    if (++this.blocks % REPORT_EVERY === 0 || ranDry) this.report();
    return true;
  }

  unity() { return this.gains.every((gain, k) => gain === 1 && this.wanted[k] === 1); }

  copy(chunk, output, written, n) {
    const channels = chunk.channels;
    for (let c = 0; c < output.length; c++) {
      const out = output[c];
      for (let k = 0, at = this.offset * channels + Math.min(c, channels - 1); k < n; k++, at += channels) out[written + k] = chunk.pcm[at] / 32768;
    }
  }

  mix(chunk, output, written, n) {
    const channels = chunk.channels, step = 1 / (RAMP_S * sampleRate);
    const [drums, bass] = chunk.stems, from = Float32Array.from(this.gains);
    for (let c = 0; c < output.length; c++) {
      const out = output[c];
      this.gains.set(from);
      for (let k = 0, at = this.offset * channels + Math.min(c, channels - 1); k < n; k++, at += channels) {
        for (let s = 0; s < 3; s++) {
          const gap = this.wanted[s] - this.gains[s];
          this.gains[s] = Math.abs(gap) <= step ? this.wanted[s] : this.gains[s] + Math.sign(gap) * step;
        }
        const rest = this.gains[2];
        let sample = chunk.pcm[at] * rest;
        if (drums) sample += drums[at] * (this.gains[0] - rest);
        if (bass) sample += bass[at] * (this.gains[1] - rest);
        out[written + k] = sample / 32768;
      }
    }
  }

  report() {
    this.port.postMessage({ run: this.run, at: this.at, played: this.played, starved: this.starved, time: currentTime });
  }
}
registerProcessor("melformer-fifo", MelformerFifo);
