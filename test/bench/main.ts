/** Entry of `npm run bench`: reads what to measure from the command line. */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { benchNbd } from './nbd.ts';

const usage = `usage: npm run bench -- nbd [options]

  --rounds N       rounds, of which the median counts (default 3)
  --seconds N      length of each fio job (default 2)
  --tcp            TCP on loopback instead of unix sockets
  --only A,B       only servers whose name contains A or B
  --folder DIR     where to measure (default: the temporary folder)
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    tcp: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    folder: { type: 'string', default: os.tmpdir() },
    help: { type: 'boolean', default: false },
  },
});

const [what] = positionals;
if (what === 'nbd' && !values.help) {
  await benchNbd({
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    isTcp: values.tcp,
    folder: values.folder,
    only: values.only === '' ? [] : values.only.split(','),
  });
} else {
  console.log(usage);
  process.exitCode = values.help ? 0 : 2;
}
