/** iSCSI sessions: who is logged in, and ending that. */
import { OperationError } from '../base/errors.ts';
import type { Session } from '../contract/session.ts';
import type { IscsiControl } from './iscsi-control.ts';
import type { EngineAccess } from './pool-control.ts';

export class SessionControl {
  readonly #engine: EngineAccess;
  readonly #iscsi: IscsiControl;

  constructor(engine: EngineAccess, iscsi: IscsiControl) {
    this.#engine = engine;
    this.#iscsi = iscsi;
  }

  /** All, or those of a host; the oldest first. Rejects with `not-found` when there is no such host. */
  async sessionList(host?: string): Promise<Session[]> {
    if (host !== undefined) this.#iscsi.catalog.hostShow(host);
    const sessions = await this.#engine.call('sessionList', {});
    return sessions
      .filter((session) => host === undefined || session.host === host)
      .map((session) => ({ ...session, luns: [...session.luns] }))
      .sort((left, right) => left.sinceMs - right.sinceMs);
  }

  /** Rejects with `not-found` when there is no such session. */
  async sessionDrop(id: number): Promise<void> {
    const { droppedCount } = await this.#engine.call('sessionDrop', { ids: [id] });
    if (droppedCount > 0) return;
    const hint = 'tidemark session list shows those there are';
    throw new OperationError('not-found', `there is no session ${id}`, hint);
  }

  /** How many there were. */
  async sessionDropHost(host: string): Promise<number> {
    const ids = (await this.sessionList(host)).map(({ id }) => id);
    if (ids.length === 0) return 0;
    return (await this.#engine.call('sessionDrop', { ids })).droppedCount;
  }
}
