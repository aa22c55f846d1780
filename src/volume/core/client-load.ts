/** Whether clients write much just now: work in the background looks here between two steps and goes slower. */
import type { PoolParts } from './parts.ts';

/** Bytes logged since it was looked before, or waiting in staging, from which on clients count as busy. */
const busyBytes = 2 ** 20;

export class ClientLoad {
  readonly #parts: Pick<PoolParts, 'writer' | 'staging'>;
  #bytesLogged = 0;

  constructor(parts: Pick<PoolParts, 'writer' | 'staging'>) {
    this.#parts = parts;
  }

  /** Since it was asked before. */
  isBusy(): boolean {
    const { writer, staging } = this.#parts;
    const bytesLogged = writer?.log.bytesLogged ?? 0;
    const isBusy =
      bytesLogged - this.#bytesLogged >= busyBytes ||
      staging.sizeBytes - staging.freeBytes >= busyBytes;
    this.#bytesLogged = bytesLogged;
    return isBusy;
  }
}
