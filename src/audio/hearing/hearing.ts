/** What the listening process does: live sessions that step together, and scans of whole recordings. */
import { AdderError } from '../../platform/errors.js';
import { loadResampler } from '../decode/index.js';
import { SpeechListener, type SpeechModel } from '../model/index.js';
import type { HearingAnswers, HearingAsk, SessionOutput } from './protocol.js';
import { scanClip } from './scan-clip.js';
import { HearingSession } from './session.js';

export class Hearing {
  private readonly listener: SpeechListener;
  private readonly sessions = new Map<number, HearingSession>();

  constructor(private readonly model: SpeechModel) {
    this.listener = new SpeechListener(model);
  }

  /** Answers one question; the caller asks one after another. */
  async answer(ask: HearingAsk): Promise<HearingAnswers[keyof HearingAnswers]> {
    switch (ask.kind) {
      case 'open': {
        await loadResampler();
        const session = await HearingSession.open(this.listener, ask.format, ask.events, ask.saved);
        this.sessions.set(ask.session, session);
        const { format, rows, speaking } = session;
        return { model: this.model.name, format, rows, speaking };
      }
      case 'tick':
        return this.tick(ask.work);
      case 'save': {
        const session = this.find(ask.session);
        const bytes = await session.save();
        this.close(ask.session);
        return bytes;
      }
      case 'close':
        this.close(ask.session);
        return null;
      case 'scan':
        return scanClip(this.model, ask);
    }
  }

  async end(): Promise<void> {
    for (const id of [...this.sessions.keys()]) this.close(id);
    await this.listener.close();
    await this.model.close();
  }

  /** One batched step for all sessions that have something due. */
  private async tick(work: Extract<HearingAsk, { kind: 'tick' }>['work']): Promise<SessionOutput[]> {
    for (const { session, items } of work) for (const item of items) this.find(session).push(item);
    await this.listener.step();
    return work.map(({ session }) => this.find(session).take(session));
  }

  private close(id: number): void {
    this.sessions.get(id)?.close();
    this.sessions.delete(id);
  }

  private find(id: number): HearingSession {
    const session = this.sessions.get(id);
    if (!session) throw new AdderError({ code: 'INTERNAL', message: `there is no session ${id} here` });
    return session;
  }
}
