// The microphone as a WAV file. Samples are taken as they are, not through a lossy codec: small models hear the difference.
import {encode_wav, kSoundRate, resample} from "./wav.js";

export const kRecordingSecondsMax = 30;  // the longest clip a Gemma takes in one piece

export function can_record() {
  return Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);
}

// Asks for the microphone and records until stop(). on_level(seconds, level 0...1) ten times a second.
export async function start_recording(on_level) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true},
  });
  const context = new AudioContext();
  const blocks = [];
  let frames = 0;
  const close = async () => {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  };
  try {
    await context.audioWorklet.addModule("/page/recorder_worklet.js");
  } catch (error) {
    await close();
    throw error;
  }
  const tap = new AudioWorkletNode(context, "tap", {numberOfOutputs: 0});
  tap.port.onmessage = ({data}) => {
    blocks.push(data);
    frames += data.length;
    let peak = 0;
    for (const sample of data) peak = Math.max(peak, Math.abs(sample));
    on_level(frames / context.sampleRate, Math.min(1, peak));
  };
  new MediaStreamAudioSourceNode(context, {mediaStream: stream}).connect(tap);
  return {
    // The recording as a Blob; null when nothing was heard yet.
    async stop() {
      const rate = context.sampleRate;
      await close();
      if (frames === 0) return null;
      const samples = new Float32Array(frames);
      let at = 0;
      for (const block of blocks) {
        samples.set(block, at);
        at += block.length;
      }
      const limited = samples.subarray(0, Math.floor(kRecordingSecondsMax * rate));
      return new Blob([encode_wav(await resample(limited, rate), kSoundRate)], {type: "audio/wav"});
    },
    cancel: close,
  };
}
