/** /v1/volumes */
import type { FastifyInstance } from 'fastify';
import { ForceQuery } from '../contract/common.ts';
import {
  Deleted,
  Volume,
  VolumeClone,
  VolumeCreate,
  VolumeHistory,
  VolumeList,
  VolumePath,
  VolumeRename,
  VolumeResize,
  VolumeRollback,
  VolumeSet,
  VolumeUndoRollback,
} from '../contract/volume.ts';
import type { PoolControl } from '../control/pool-control.ts';

export function installVolumeRoutes(app: FastifyInstance, control: PoolControl): void {
  installReading(app, control);
  installChanging(app, control);
  installRollback(app, control);
}

function installReading(app: FastifyInstance, control: PoolControl): void {
  app.get('/v1/volumes', { schema: { response: { 200: VolumeList } } }, async () => ({
    volumes: await control.volumeList(),
  }));
  app.get<{ Params: VolumePath }>(
    '/v1/volumes/:name',
    { schema: { params: VolumePath, response: { 200: Volume } } },
    async (request) => await control.volumeShow(request.params.name),
  );
  app.get<{ Params: VolumePath }>(
    '/v1/volumes/:name/history',
    { schema: { params: VolumePath, response: { 200: VolumeHistory } } },
    async (request) => await control.volumeHistory(request.params.name),
  );
}

function installChanging(app: FastifyInstance, control: PoolControl): void {
  app.post<{ Body: VolumeCreate }>(
    '/v1/volumes',
    { schema: { body: VolumeCreate, response: { 201: Volume } } },
    async (request, reply) => await reply.code(201).send(await control.volumeCreate(request.body)),
  );
  const params = VolumePath;
  app.post<{ Params: VolumePath; Body: VolumeClone }>(
    '/v1/volumes/:name/clone',
    { schema: { params, body: VolumeClone, response: { 201: Volume } } },
    async (request, reply) => {
      const clone = await control.volumeClone(request.params.name, request.body.name);
      return await reply.code(201).send(clone);
    },
  );
  app.post<{ Params: VolumePath; Body: VolumeSet }>(
    '/v1/volumes/:name/set',
    { schema: { params, body: VolumeSet, response: { 200: Volume } } },
    async (request) => await control.volumeSet(request.params.name, request.body),
  );
  app.post<{ Params: VolumePath; Body: VolumeRename }>(
    '/v1/volumes/:name/rename',
    { schema: { params, body: VolumeRename, response: { 200: Volume } } },
    async (request) => await control.volumeRename(request.params.name, request.body.newName),
  );
  app.post<{ Params: VolumePath; Body: VolumeResize }>(
    '/v1/volumes/:name/resize',
    { schema: { params, body: VolumeResize, response: { 200: Volume } } },
    async (request) => {
      const { sizeBytes, force } = request.body;
      return await control.volumeResize(request.params.name, sizeBytes, force === true);
    },
  );
  app.delete<{ Params: VolumePath; Querystring: ForceQuery }>(
    '/v1/volumes/:name',
    {
      schema: {
        params,
        querystring: ForceQuery,
        response: { 200: Deleted },
      },
    },
    async (request) => {
      await control.volumeDelete(request.params.name, request.query.force === 'true');
      return { deleted: request.params.name };
    },
  );
}

function installRollback(app: FastifyInstance, control: PoolControl): void {
  const params = VolumePath;
  app.post<{ Params: VolumePath; Body: VolumeRollback }>(
    '/v1/volumes/:name/rollback',
    { schema: { params, body: VolumeRollback, response: { 200: Volume } } },
    async (request) => {
      const { to, disconnect } = request.body;
      return await control.volumeRollback(request.params.name, to, disconnect === true);
    },
  );
  app.post<{ Params: VolumePath; Body: VolumeUndoRollback }>(
    '/v1/volumes/:name/rollback/undo',
    { schema: { params, body: VolumeUndoRollback, response: { 200: Volume } } },
    async (request) =>
      await control.volumeUndoRollback(request.params.name, request.body.disconnect === true),
  );
}
