/** /v1/tls */
import type { FastifyInstance } from 'fastify';
import { TlsClient, TlsClientCreate, TlsStatus } from '../contract/tls.ts';
import type { TlsControl } from '../control/tls-control.ts';

export function installTlsRoutes(app: FastifyInstance, tls: TlsControl): void {
  app.get('/v1/tls', { schema: { response: { 200: TlsStatus } } }, async () => await tls.tlsShow());
  app.post<{ Body: TlsClientCreate }>(
    '/v1/tls/clients',
    { schema: { body: TlsClientCreate, response: { 201: TlsClient } } },
    async (request, reply) =>
      await reply.code(201).send(await tls.tlsClientCreate(request.body.name)),
  );
}
