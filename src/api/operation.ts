/** /v1/operations */
import type { FastifyInstance } from 'fastify';
import { Operation, OperationList, OperationPath } from '../contract/operation.ts';
import type { PoolControl } from '../control/pool-control.ts';

export function installOperationRoutes(app: FastifyInstance, control: PoolControl): void {
  app.get(
    '/v1/operations',
    { schema: { response: { 200: OperationList } } },
    async () => await Promise.resolve({ operations: control.operations.list() }),
  );
  app.get<{ Params: OperationPath }>(
    '/v1/operations/:id',
    {
      schema: {
        params: OperationPath,
        response: { 200: Operation },
      },
    },
    // A promise, so that what `show` throws becomes an answer.
    async (request) => await Promise.resolve(control.operations.show(request.params.id)),
  );
}
