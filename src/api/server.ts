/**
 * The REST API: JSON over HTTP on the daemon's unix socket, whose file permission is the authentication.
 * One file per noun registers its routes; `errors.ts` shapes every failure.
 */
import Fastify, { type FastifyInstance } from 'fastify';
import { parseMoment } from '../base/moment.ts';
import type { Log } from '../base/ports.ts';
import type { HostControl } from '../control/host-control.ts';
import type { LunControl } from '../control/lun-control.ts';
import type { PoolControl } from '../control/pool-control.ts';
import type { PortalControl } from '../control/portal-control.ts';
import type { SessionControl } from '../control/session-control.ts';
import type { TlsControl } from '../control/tls-control.ts';
import { installErrors } from './errors.ts';
import { installHistoryRoutes } from './history.ts';
import { installHostRoutes } from './host.ts';
import { API_CONNECTIONS_MAX, REQUEST_BODY_MAX_BYTES, REQUEST_TIMEOUT_MS } from './limits.ts';
import { installLunRoutes } from './lun.ts';
import { installOperationRoutes } from './operation.ts';
import { installPoolRoutes } from './pool.ts';
import { installPortalRoutes } from './portal.ts';
import { installScrubRoutes } from './scrub.ts';
import { installSessionRoutes } from './session.ts';
import { installSnapshotRoutes } from './snapshot.ts';
import { installTlsRoutes } from './tls.ts';
import { installViewRoutes } from './view.ts';
import { installVolumeRoutes } from './volume.ts';

/** Who does what the API is asked for. */
export interface Controls {
  readonly pool: PoolControl;
  readonly hosts: HostControl;
  readonly luns: LunControl;
  readonly sessions: SessionControl;
  readonly portals: PortalControl;
  readonly tls: TlsControl;
}

/**
 * Builds the API over `controls`; the caller has it listen and closes it. `log` gets a line per request that changes something, and no
 * body: there may be a secret in it.
 */
export function buildApi(controls: Controls, log: Log): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: REQUEST_BODY_MAX_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    // The router's own limit is 100; names have up to 128, percent signs triple that.
    routerOptions: { maxParamLength: 400 },
    // Every fault is reported at once, nothing is dropped or converted silently.
    ajv: {
      customOptions: {
        allErrors: true,
        removeAdditional: false,
        coerceTypes: false,
        formats: { moment: (text: string) => parseMoment(text) !== undefined },
      },
    },
  });
  app.server.maxConnections = API_CONNECTIONS_MAX;
  installErrors(app, log);
  app.addHook('onResponse', async (request, reply) => {
    if (request.method === 'GET') return;
    const { method, url } = request;
    log.info(`${method} ${url}`, { status: reply.statusCode, durationMs: reply.elapsedTime });
  });
  const { pool, hosts, luns, sessions, portals, tls } = controls;
  installPoolRoutes(app, pool);
  installVolumeRoutes(app, pool);
  installViewRoutes(app, pool);
  installSnapshotRoutes(app, pool);
  installHistoryRoutes(app, pool.history);
  installScrubRoutes(app, pool.scrub);
  installHostRoutes(app, hosts, sessions);
  installLunRoutes(app, luns);
  installSessionRoutes(app, sessions);
  installPortalRoutes(app, portals);
  installOperationRoutes(app, pool);
  installTlsRoutes(app, tls);
  return app;
}
