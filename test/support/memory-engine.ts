/** An engine in memory behind the supervisor's interface: enough of one for tests of the API and the CLI. */
import type { OperationError } from '../../src/base/errors.ts';
import type { EngineAccess } from '../../src/control/pool-control.ts';
import type { EngineDoor, EngineInfo } from '../../src/control/supervisor.ts';
import type { EngineHandlers } from '../../src/engine/rpc.ts';
import { FakePool } from './fake-pool.ts';

export class MemoryEngine implements EngineAccess {
  readonly pool = new FakePool({ name: 'main', capacityBytes: 100 * 1024 ** 3 });
  /** What every call fails with, when set. */
  failure: OperationError | undefined;

  call: EngineAccess['call'] = async (method, params, options) => {
    if (this.failure !== undefined) throw this.failure;
    const handler = this.pool.handlers[method as keyof FakePool['handlers']];
    // `FakePool` has a handler of the right type for every method of the protocol but those of the process.
    return await (handler as unknown as EngineHandlers[typeof method])(
      params,
      options?.onProgress ?? (() => undefined),
    );
  };

  /** A connection to it, which closes when `gone` is resolved. */
  readonly gone = Promise.withResolvers<void>();
  door(): EngineDoor {
    return {
      closed: this.gone.promise,
      call: async (method, params, options) => await this.call(method, params, options),
      close: () => undefined,
    };
  }

  info(): EngineInfo {
    if (this.failure !== undefined) throw this.failure;
    const nbd = { socketPath: '/d/run/nbd.sock', tcp: { address: '127.0.0.1', port: 10_809 } };
    return { pid: 4711, startedMs: 1_800_000_000_000, restartCount: 0, nbd };
  }
}
