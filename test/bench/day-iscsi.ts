/**
 * The iSCSI side of `bench day`: a few hosts with a session each, and some volumes as LUNs of theirs.
 *
 *     vol000 ─▶ LUN 0 of host0 ┐ session of host0 ─▶ portal, on another port after every restart
 *     vol020 ─▶ LUN 1 of host0 ┘
 */
import type { IscsiHost, IscsiWanted } from '../../src/engine/protocol.ts';
import { type Answer, type CommandOptions, IscsiClient } from '../support/iscsi-client.ts';
import { senseCode } from '../support/iscsi-payload.ts';
import { read16, unmap, unmapParameters, write16 } from '../support/scsi-cdb.ts';
import { ConnectionLost, type DayDisk, Reconnecting, Refusal } from './day-disk.ts';

const sectorBytes = 512;
const targetName = 'iqn.2026-11.org.tidemark:day';
const status = { good: 0, checkCondition: 2, busy: 8, taskSetFull: 0x28 } as const;
const unitAttention = 6;
/** SPACE ALLOCATION FAILED WRITE PROTECT. */
const noSpace = 0x07_2707;

function initiatorOf(host: number): string {
  return `iqn.2026-11.org.example:host${host}`;
}

/** What the engine is told: one portal, and volumes by their UUID as LUNs of each host. */
export function iscsiWanted(volumesByHost: readonly (readonly string[])[]): IscsiWanted {
  const hosts = volumesByHost.map((volumes, host): IscsiHost => {
    return {
      name: `host${host}`,
      initiators: [initiatorOf(host)],
      isAnyInitiator: false,
      isLoopbackOnly: false,
      luns: volumes.map((volumeUuid, lun) => ({ lun, volumeUuid, isReadOnly: false })),
    };
  });
  return { targetName, portals: [{ address: '127.0.0.1', port: 0, group: 1 }], hosts };
}

/** A host: the session that its LUNs share. */
export class DayHost {
  readonly #index: number;
  readonly #port: () => number;
  readonly #session = new Reconnecting<IscsiClient>(
    async () => await this.#login(),
    ({ isOpen }) => !isOpen,
  );

  /** `port`: where the portal is now. */
  constructor(index: number, port: () => number) {
    this.#index = index;
    this.#port = port;
  }

  /** Rejects with ConnectionLost when nobody listens, or the engine is on its way out. */
  async session(): Promise<IscsiClient> {
    return await this.#session.get();
  }

  async close(): Promise<void> {
    const session = await this.#session.last();
    session?.destroy();
  }

  async #login(): Promise<IscsiClient> {
    try {
      const options = { initiatorName: initiatorOf(this.#index), targetName, isid: this.#index };
      return await IscsiClient.login(this.#port(), options);
    } catch (error) {
      throw new ConnectionLost(String(error));
    }
  }
}

/** A LUN, over the session of its host. */
export class IscsiDisk implements DayDisk {
  readonly #session: IscsiClient;
  readonly #lun: number;

  constructor(session: IscsiClient, lun: number) {
    this.#session = session;
    this.#lun = lun;
  }

  get isGone(): boolean {
    return !this.#session.isOpen;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const cdb = read16(offset / sectorBytes, length / sectorBytes);
    const { data } = await this.#command(cdb, { readBytes: length });
    return Buffer.from(data.buffer, data.byteOffset, data.length);
  }

  async write(offset: number, payload: Buffer): Promise<void> {
    await this.#command(write16(offset / sectorBytes, payload.length / sectorBytes), {
      write: payload,
    });
  }

  async trim(offset: number, length: number): Promise<void> {
    const parameters = unmapParameters(offset / sectorBytes, length / sectorBytes);
    await this.#command(unmap(parameters.length), { write: parameters });
  }

  /** The session stays: other LUNs use it. */
  close(): void {
    // Nothing of it is the LUN's own.
  }

  /** Until it is done: what a host repeats is repeated. */
  async #command(cdb: Uint8Array, options: CommandOptions): Promise<Answer> {
    for (;;) {
      const answer = await this.#once(cdb, options);
      if (answer.status === status.good) return answer;
      const isBusy = answer.status === status.busy || answer.status === status.taskSetFull;
      const sense = answer.status === status.checkCondition ? senseCode(answer.sense) : 0;
      if (sense === noSpace) throw new Refusal('full', 'no space');
      if (!isBusy && sense >> 16 !== unitAttention) {
        throw new Refusal('other', `status ${answer.status}, sense ${sense.toString(16)}`);
      }
    }
  }

  async #once(cdb: Uint8Array, options: CommandOptions): Promise<Answer> {
    try {
      return await this.#session.command(cdb, { ...options, lun: this.#lun });
    } catch (error) {
      throw new ConnectionLost(String(error));
    }
  }
}
