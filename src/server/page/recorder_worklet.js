// Runs on the audio thread: hands the microphone's samples on, mixed to one channel, a tenth of a second at a time.
class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.round(sampleRate / 10));
    this.filled = 0;
  }

  process([input]) {
    const frames = input[0]?.length ?? 0;
    for (let i = 0; i < frames; ++i) {
      let sum = 0;
      for (const channel of input) sum += channel[i];
      this.block[this.filled++] = sum / input.length;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);  // copied: the block is filled again
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("tap", Tap);
