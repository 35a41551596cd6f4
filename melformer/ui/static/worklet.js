// Plays PCM16 chunks one after another, sample for sample. Each chunk knows its place on the timeline,
// so a position report is exact also after a seek or a repeat.
const REPORT_EVERY = 32; // blocks of 128 samples; the page moves the playhead on by the clock in between
class MelformerFifo extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunks = [];
    this.offset = 0;
    this.played = 0;
    this.starved = 0;
    this.open = false;
    this.blocks = 0;
    this.run = 0;
    this.port.onmessage = (event) => this.receive(event.data);
  }

  receive(message) {
    if (message.clear !== undefined) {
      this.chunks = [];
      this.offset = 0;
      this.played = 0;
      this.starved = 0;
      this.at = undefined;
      this.run = message.clear;
      this.open = false;
    }
    if (message.pcm) {
      this.chunks.push(message);
      this.open = true;
    }
    if (message.last) this.open = false; // nothing more is expected, so silence is no fault
  }

  process(inputs, outputs) {
    const output = outputs[0];
    const length = output[0].length;
    let written = 0;
    while (written < length && this.chunks.length) {
      const chunk = this.chunks[0];
      const channels = chunk.channels;
      const frames = chunk.pcm.length / channels;
      const n = Math.min(length - written, frames - this.offset);
      for (let c = 0; c < output.length; c++) {
        const source = Math.min(c, channels - 1);
        const out = output[c];
        for (let k = 0, at = this.offset * channels + source; k < n; k++, at += channels) out[written + k] = chunk.pcm[at] / 32768;
      }
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

  report() {
    this.port.postMessage({ run: this.run, at: this.at, played: this.played, starved: this.starved, time: currentTime });
  }
}
registerProcessor("melformer-fifo", MelformerFifo);
