/** Every error that leaves the API: its HTTP code and its body. The only place that knows HTTP codes of errors. */
import type { FastifyError, FastifyInstance, FastifySchemaValidationError } from 'fastify';
import { ErrorCode, OperationError, toError } from '../base/errors.ts';
import { momentRule } from '../base/moment.ts';
import type { Log } from '../base/ports.ts';
import { type ErrorBody, nameRule } from '../contract/common.ts';
import { VALIDATION_FAULTS_MAX } from './limits.ts';

const httpStatusByCode: Readonly<Record<ErrorCode, number>> = {
  [ErrorCode.invalid]: 400,
  [ErrorCode.notFound]: 404,
  [ErrorCode.exists]: 409,
  [ErrorCode.conflict]: 409,
  [ErrorCode.needsForce]: 428,
  [ErrorCode.noSpace]: 507,
  [ErrorCode.readOnly]: 423,
  [ErrorCode.unavailable]: 503,
  [ErrorCode.internal]: 500,
};

/** Makes every failure of `app` answer with an ErrorBody. What is our own mistake goes to the log with its stack. */
export function installErrors(app: FastifyInstance, log: Log): void {
  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    const failure = operationError(error);
    if (failure.code === ErrorCode.internal) {
      log.error('API request failed', {
        method: request.method,
        url: request.url,
        error: error.stack,
      });
    }
    return await reply.code(httpStatusByCode[failure.code]).send(errorBody(failure));
  });
  app.setNotFoundHandler(async (request, reply) => {
    const message = `the API has no ${request.method} ${request.url.slice(0, 200)}`;
    return await reply.code(404).send(errorBody(new OperationError('not-found', message)));
  });
}

function errorBody(error: OperationError): ErrorBody {
  const { code, message, hint } = error;
  return { error: hint === undefined ? { code, message } : { code, message, hint } };
}

function operationError(error: FastifyError): OperationError {
  if (error instanceof OperationError) return error;
  if (error.validation !== undefined) return validationError(error.validation);
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) return new OperationError('invalid', error.message);
  return new OperationError('internal', `internal error: ${toError(error).message}`);
}

function validationError(faults: readonly FastifySchemaValidationError[]): OperationError {
  const texts = new Set(faults.slice(0, VALIDATION_FAULTS_MAX).map(faultText));
  return new OperationError('invalid', [...texts].join('; '));
}

/** Numbers in a query; every other pattern is a name's. */
const countFields: ReadonlySet<string> = new Set(['offset', 'limit', 'buckets', 'gaps']);

function faultText(fault: FastifySchemaValidationError): string {
  const field = fault.instancePath.split('/').at(-1) ?? '';
  switch (fault.keyword) {
    case 'pattern':
      return `${field} must be ${countFields.has(field) ? 'a whole number' : nameRule}`;
    case 'format':
      return `${field} must be ${momentRule}`;
    case 'additionalProperties':
      return `unknown field ${String(fault.params['additionalProperty'])}`;
    case 'multipleOf':
      return `${field} must be a multiple of ${String(fault.params['multipleOf'])}`;
    default:
      return `${field === '' ? 'the request' : field} ${fault.message ?? 'is not valid'}`;
  }
}
