import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { bothLogs, humanLog, jsonLog } from '../../../src/telemetry/log.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

it('writes JSON lines for machines and the bare message for people', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-log-'));
  try {
    const file = path.join(folder, 'x.log');
    const lines: string[] = [];
    const log = bothLogs(
      jsonLog(file, 'test'),
      humanLog(new VirtualTime(), (text) => lines.push(text)),
    );
    log.info('began', { port: 7 });
    log.warn('slow');
    log.error('failed');
    const written = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(written.map((line): unknown => JSON.parse(line))).toMatchObject([
      { level: 'info', name: 'test', msg: 'began', port: 7 },
      { level: 'warn', msg: 'slow' },
      { level: 'error', msg: 'failed' },
    ]);
    expect(lines.map((line) => line.replace(/^\d\d:\d\d:\d\d /, ''))).toEqual([
      'began\n',
      'warning: slow\n',
      'error: failed\n',
    ]);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});
