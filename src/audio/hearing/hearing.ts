/** What the listening process does: live sessions that step together, and scans of whole recordings. */
import { AdderError } from '../../platform/errors.js';
import { SpeechListener, type SpeechModel } from '../model/index.js';
import { loadTurnModel, TurnListener, type TurnModel } from '../turns/index.js';
import type { HearingAnswers, HearingAsk, SessionOutput } from './protocol.js';
import { scanClip } from './scan-clip.js';
import { HearingSession } from './session.js';

interface Turns {
  model: TurnModel;
  listener: TurnListener;
}

export class Hearing {
  private readonly speech: SpeechListener;
  private readonly sessions = new Map<number, HearingSession>();
  /** Loaded when the first turn outlook is asked for. */
  private turns: Promise<Turns> | undefined;

  constructor(private readonly model: SpeechModel) {
    this.speech = new SpeechListener(model);
  }

  /** Answers one question; the caller asks one after another. */
  async answer(ask: HearingAsk): Promise<HearingAnswers[keyof HearingAnswers]> {
    switch (ask.kind) {
      case 'open': {
        const listeners = { speech: this.speech, turns: async () => (await this.openTurns()).listener };
        const session = await HearingSession.open(listeners, ask, ask.saved);
        this.sessions.set(ask.session, session);
        const turnModel = ask.options.turns && (await this.openTurns()).model.name;
        return { model: this.model.name, ...(turnModel ? { turnModel } : {}), format: session.format };
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
        return scanClip({ speech: this.model, turns: async () => (await this.openTurns()).model }, ask);
    }
  }

  async end(): Promise<void> {
    for (const id of [...this.sessions.keys()]) this.close(id);
    const turns = await this.turns;
    await turns?.listener.close();
    await turns?.model.close();
    await this.speech.close();
    await this.model.close();
  }

  /** One batched step of each model for all live sessions that have something due. */
  private async tick(work: Extract<HearingAsk, { kind: 'tick' }>['work']): Promise<SessionOutput[]> {
    for (const { session, items } of work) for (const item of items) this.find(session).push(item);
    await this.speech.step();
    for (const { session } of work) this.find(session).stepped();
    if (this.turns) await (await this.turns).listener.step();
    return work.map(({ session }) => this.find(session).take(session));
  }

  private openTurns(): Promise<Turns> {
    this.turns ??= loadTurnModel(undefined, this.model.backend).then(
      (model) => ({ model, listener: new TurnListener(model) }),
      (error) => {
        // Sessions without turns must not suffer from it.
        this.turns = undefined;
        throw error;
      },
    );
    return this.turns;
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
