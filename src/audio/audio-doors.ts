import { availableParallelism } from 'node:os';
import { Authenticator } from '../http/auth/authenticate.js';
import { RateLimiter } from '../http/auth/rate-limit.js';
import type { ApiContext } from '../http/context.js';
import type { UpgradeHandler } from '../http/upgrades.js';
import { AdderError } from '../platform/errors.js';
import { HearingProcess } from './hearing/hearing-process.js';
import { SpeechHub } from './live/hub.js';
import { SpeechServer } from './live/speech-server.js';
import { SessionVault } from './live/vault.js';
import { ClipScanner } from './rest/clip-scanner.js';

export { ClipScanner } from './rest/clip-scanner.js';

/**
 * What the API process has of speech: live sessions on one listening process, clips on another, so that a long clip holds no
 * session up. Both are started when they are first needed.
 */
export class AudioDoors {
  /** WebSockets by path. */
  readonly sockets: ReadonlyMap<string, UpgradeHandler>;
  readonly clips: ClipScanner;
  private readonly live: HearingProcess;
  private readonly server: SpeechServer;
  private readonly vault: SessionVault;

  constructor({ config, log, keys, database }: Pick<ApiContext, 'config' | 'log' | 'keys' | 'database'>) {
    const onError = (error: unknown) => log.warn({ err: error }, 'live speech has trouble');
    const { model, resumeMs } = config.speech;
    const process = {
      backend: config.backend,
      model,
      onLine: (line: string) => log.debug({ line }, 'a listening process says'),
    };
    this.live = new HearingProcess({
      ...process,
      // A core is left to whoever serves the sockets: a helper that loses its core in a step holds up everybody's.
      threads: Math.max(1, availableParallelism() - 1),
      onLost: (reason) => {
        log.warn({ reason }, 'the process of live speech ended; it is started again when it is needed');
        hub.lose(new AdderError({ code: 'LISTENER_LOST', message: 'the listening process ended', fix: 'begin again' }));
      },
    });
    const hub = new SpeechHub(this.live, onError);
    this.vault = new SessionVault(database, resumeMs, onError);
    const authenticator = new Authenticator(keys, new RateLimiter(database), config);
    this.server = new SpeechServer({ keys, authenticator, hub, vault: this.vault, onError });
    this.sockets = new Map([['/v1/audio/live', this.server.accept]]);
    this.clips = new ClipScanner(new HearingProcess(process));
  }

  /** Keeps what is live and lets go of every client. */
  async close(): Promise<void> {
    await this.server.close();
    await this.live.close();
    this.vault.close();
  }

  /** After the last request was answered. */
  end(): Promise<void> {
    return this.clips.close();
  }
}
