// Sound as the models take it: mono, 16 kHz, in a WAV file of 16-bit samples.
export const kSoundRate = 16000;

// samples: Float32Array in [-1, 1]. Returns an ArrayBuffer with the file.
export function encode_wav(samples, rate) {
  const file = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const tag = (at, text) => [...text].forEach((c, i) => file.setUint8(at + i, c.charCodeAt(0)));
  tag(0, "RIFF");
  file.setUint32(4, 36 + 2 * samples.length, true);
  tag(8, "WAVEfmt ");
  file.setUint32(16, 16, true);        // bytes of the format that follow
  file.setUint16(20, 1, true);         // PCM
  file.setUint16(22, 1, true);         // channels
  file.setUint32(24, rate, true);
  file.setUint32(28, 2 * rate, true);  // bytes a second
  file.setUint16(32, 2, true);         // bytes a frame
  file.setUint16(34, 16, true);        // bits a sample
  tag(36, "data");
  file.setUint32(40, 2 * samples.length, true);
  for (let i = 0; i < samples.length; ++i) {
    const clipped = Math.max(-1, Math.min(1, samples[i]));
    file.setInt16(44 + 2 * i, Math.round(clipped * 32767), true);
  }
  return file.buffer;
}

// The browser's own resampler: it filters before it drops samples.
export async function resample(samples, rate, rate_wanted = kSoundRate) {
  if (rate === rate_wanted || samples.length === 0) return samples;
  const frames = Math.max(1, Math.round((samples.length * rate_wanted) / rate));
  const context = new OfflineAudioContext(1, frames, rate_wanted);
  const buffer = context.createBuffer(1, samples.length, rate);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, {buffer});
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}
