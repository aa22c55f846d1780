/** /v1/pool/scrub */
import type { FastifyInstance } from 'fastify';
import { Scrub, ScrubStart } from '../contract/scrub.ts';
import type { ScrubControl } from '../control/scrub-control.ts';

export function installScrubRoutes(app: FastifyInstance, scrub: ScrubControl): void {
  app.get(
    '/v1/pool/scrub',
    { schema: { response: { 200: Scrub } } },
    async () => await scrub.status(),
  );
  app.post<{ Body: ScrubStart }>(
    '/v1/pool/scrub/start',
    { schema: { body: ScrubStart, response: { 200: Scrub } } },
    async (request) => await scrub.start(request.body),
  );
  app.post(
    '/v1/pool/scrub/pause',
    { schema: { response: { 200: Scrub } } },
    async () => await scrub.pause(),
  );
}
