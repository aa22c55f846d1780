/** HTTP requests of the CLI over a unix socket. */
import { request } from 'node:http';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpRequest {
  readonly socketPath: string;
  readonly method: string;
  readonly path: string;
  /** JSON text, when there is a body. */
  readonly body: string | undefined;
  readonly timeoutMs: number;
}

/** Sends one request. Rejects with the system's error (ECONNREFUSED, ENOENT, ...) when no answer comes. */
export async function httpOverSocket(wanted: HttpRequest): Promise<HttpAnswer> {
  const { socketPath, method, path, body, timeoutMs } = wanted;
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  return await new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers, timeout: timeoutMs }, (answer) => {
      const parts: string[] = [];
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, body: parts.join('') });
      });
    });
    sent.on('timeout', () => {
      sent.destroy(new Error(`no answer within ${timeoutMs / 1000} s`));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
