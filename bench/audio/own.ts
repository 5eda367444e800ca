/** Our speech model as one of the detectors: a live session of its own, hop by hop. */
import {
  frameAt,
  LEADS,
  type SpeechFrame,
  SpeechListener,
  type SpeechModel,
  type SpeechSession,
} from '../../src/audio/model/index.js';
import type { Scorer } from './peers/scorers.js';

export function ownScorer(model: SpeechModel): Scorer & { close(): Promise<void> } {
  const listener = new SpeechListener(model);
  let session: SpeechSession = listener.open();
  let frame: SpeechFrame | undefined;
  return {
    name: `Adder ${model.name}`,
    hop: 160,
    reset() {
      session.close();
      session = listener.open();
    },
    async score(samples) {
      session.push(samples);
      await listener.step();
      frame = frameAt(session.take(), 0);
      return frame.speech;
    },
    outlook() {
      const { speech_200, speech_500, speech_1000 } = frame!;
      const leads = LEADS.flatMap((ms) => [
        [`end_${ms}`, frame![`end_${ms}`]],
        [`start_${ms}`, frame![`start_${ms}`]],
      ]);
      return { speech_200, speech_500, speech_1000, ...Object.fromEntries(leads) };
    },
    close: () => listener.close(),
  };
}
