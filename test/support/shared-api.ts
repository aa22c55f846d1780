/**
 * One API for all tests of a file, because making its routes takes longer than any test. Each test has it serve a control plane of
 * its own.
 */
import type { FastifyInstance } from 'fastify';
import { buildApi, type Controls } from '../../src/api/server.ts';
import { present } from '../../src/base/assert.ts';
import type { Log } from '../../src/base/ports.ts';

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

export class SharedApi {
  #app: FastifyInstance | undefined;
  #served: { readonly controls: Controls; readonly log: Log } | undefined;

  /** From now on the API asks `controls`, and logs to `log`. */
  serve(controls: Controls, log: Log): void {
    this.#served = { controls, log };
    const served = (): { readonly controls: Controls; readonly log: Log } =>
      present(this.#served, 'control plane of the API');
    this.#app ??= buildApi(
      forwarding(() => served().controls),
      forwarding(() => served().log),
    );
  }

  /** Of the first `serve` on. */
  get app(): FastifyInstance {
    return present(this.#app, 'API');
  }

  async send(method: 'GET' | 'POST' | 'DELETE', url: string, body?: object): Promise<ApiAnswer> {
    const payload = body === undefined ? {} : { payload: body };
    const answer = await this.app.inject({ method, url, ...payload });
    return { status: answer.statusCode, body: answer.json() };
  }
}

/** Stands for what `current` is whenever it is used, and so do the objects in it. */
function forwarding<T extends object>(current: () => T): T {
  return new Proxy(current(), {
    get: (_first, name): unknown => {
      const now = current();
      const value: unknown = Reflect.get(now, name);
      if (typeof value === 'function') return value.bind(now);
      if (typeof value !== 'object' || value === null) return value;
      return forwarding(() => Reflect.get(current(), name) as object);
    },
  });
}
